// Runs before the first paint: tells the styles that scripts run, and applies the reader's theme.
(() => {
  document.documentElement.classList.add("scripted");
  try {
    const theme = localStorage.getItem("crack-report-theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch { /* without storage the theme is automatic */ }
})();
