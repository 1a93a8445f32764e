// Before anything is painted: the theme this reader chose, and that a script runs.
(() => {
  document.documentElement.classList.add("scripted");
  try {
    const theme = localStorage.getItem("crack-report-theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch { /* no storage: automatic */ }
})();
