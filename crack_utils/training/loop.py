"""The training loop.

All random numbers come from (seed, epoch) alone, so a resumed training goes on exactly as the unbroken one would have.
"""

import contextlib
import importlib
import time

import numpy as np
import torch

from crack_utils.config import RunParameters
from crack_utils.data import RunData, open_loader
from crack_utils.errors import Interrupted, UserError
from crack_utils.networks import InPrecision
from crack_utils.store import Run, chosen_epoch, finish_training
from crack_utils.training import log
from crack_utils.training.checkpoints import Position, copied, resume, stopped_state, training_state, update_best
from crack_utils.training.losses import UNWEIGHTED, used_terms
from crack_utils.training.ranks import Alone, Group
from crack_utils.training.sampling import ImageMemory, hardest, plan_epoch
from crack_utils.training.signals import StopSignals
from crack_utils.training.step import Parts, build_optimizer, is_checkpoint_epoch, learning_rate, positive_weights

READ_EVERY = 50  # batches whose results a GPU keeps: reading them makes the GPU and this process wait for each other


class _Stopped(Exception):
    """The watcher or a signal stopped the training inside an epoch."""


class Training:
    """The state of one training, and its loop. A training goes on where the run's checkpoint stands.

    ``watcher`` and ``signals`` stop the training: after a batch, or at once in a validation.
    """

    def __init__(
        self,
        run: Run,
        params: RunParameters,
        data: RunData,
        device: torch.device,
        watcher: log.Watcher,
        parts: Parts,
        signals: StopSignals,
        ranks: Alone | Group,
        precision: str = "fp32",
    ):
        self.run, self.params, self.data, self.device, self.watcher, self.parts = run, params, data, device, watcher, parts
        self.signals, self.ranks, self.terms = signals, ranks, used_terms(params, parts.terms)
        self.batch_size = ranks.share(params.batch_size)
        if params.augmentation:
            importlib.import_module("torchvision.transforms.v2")  # once here, not in each worker of the loader
        self.dataset = data.split("train")
        self.stems = [crop.pair.stem for crop in self.dataset.crops]
        torch.manual_seed(params.seed)
        self.model, self.precision = ranks.prepared(parts.build_model(params), self.stems).to(device), precision
        self.network = self.model if precision == "fp32" else InPrecision(self.model, precision)
        self.learner = torch.compile(self.network) if params.compile_network else self.network  # validations come in other sizes
        self.optimizer = build_optimizer(self.model, params)
        self.positive = positive_weights(self.dataset, device) if params.positive_weights else UNWEIGHTED
        self.history: list[dict[str, float]] = []
        self.read_every = 1 if device.type == "cpu" else READ_EVERY
        self.memory, self.position = ImageMemory(len(self.dataset)), Position()
        self.best = {"epoch": 0, "val_f1": -1.0, "val_decision_ap": -1.0}  # the best figures may be of different epochs
        self.best_model: dict[str, torch.Tensor] | None = None
        if state := ranks.once(run.checkpoint.load):
            resume(self, state)

    def fit(self) -> None:
        """Train the epochs that the checkpoint lacks, and save the chosen weights.

        Raises:
            Interrupted: the watcher or a signal stopped the training. The checkpoint holds everything done.
        """
        train_s, predict_s = self.parts.measure(self.network, self.params, self.dataset, self.device, self.batch_size)
        self.validation_s = len(self.data.split(self.params.choosing_split)) * predict_s if self.params.validate else 0.0
        self.ranks.join(self.model, self.optimizer)
        self.run.log.add(log.announcement(self, train_s))
        for line in () if self.run.checkpoint.exists else log.description(self):
            self.run.log.add(line)
        self.loader = open_loader(self.dataset, self.batch_size, self.params.num_workers, self.device)
        try:
            self._fit()
        finally:
            del self.loader  # ends its worker processes
        self._finish()

    def _fit(self) -> None:
        for epoch in range(len(self.history), self.params.epochs):
            started = time.perf_counter() - self.position.time_s
            try:
                self._complete(epoch, started)
            except _Stopped:
                del self.history[epoch:]
                raise self._stop(time.perf_counter() - started) from None

    def _complete(self, epoch: int, started: float) -> None:
        """Train an epoch, validate, and save."""
        params, run, is_checkpoint = self.params, self.run, is_checkpoint_epoch(self.params, epoch)
        row = {"epoch": epoch + 1, **self._train_epoch(epoch), "learning_rate": self.optimizer.param_groups[0]["lr"]}
        row["time_s"] = round(time.perf_counter() - started, 2)
        self.history.append(row)
        run.log.add(log.epoch_line(params, self.history, self.validation_s))
        if is_checkpoint and params.validate:
            self._validate(row)
        self.position = Position()
        run.history.save(self.history)
        if is_checkpoint:
            run.checkpoint.save(training_state(self))
        self.watcher.on_epoch(self)

    def _train_epoch(self, epoch: int) -> dict[str, float]:
        """Train on the epoch's images, then once more on the hardest. Returns the mean losses of the first pass."""
        params, terms = self.params, self.terms
        self.memory_before = self.memory.state()
        rng = np.random.default_rng([params.seed, epoch])
        # Networks with dropout draw from torch's generator.
        torch.manual_seed(int(np.random.SeedSequence([params.seed, epoch, 1]).generate_state(1)[0]))
        weights = [term.weight(params, epoch) for term in terms.values()]
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(params, epoch)
        order, counts, share = plan_epoch(params, np.array([crop.has_crack for crop in self.dataset.crops]), self.memory, rng)
        seen = np.unique(order)
        self.n_done, self.n_read, self.unread = 0, 0, []
        self.results = np.empty((len(terms) + 1, len(order) + len(hardest(seen, share))))
        losses = self._train_on(order, weights, rng)[:, counts]
        again = seen[hardest(self.memory.difficulty[seen], share)]
        if len(again):
            self._train_on(rng.permutation(again), weights, rng)
        means = {f"loss_{name}": float(values.mean()) for name, values in zip(terms, losses, strict=True)}
        return {"loss": sum(weight * mean for weight, mean in zip(weights, means.values(), strict=True)), **means}

    def _train_on(self, order: np.ndarray, weights: list[float], rng: np.random.Generator) -> np.ndarray:
        """Train on images in this order. Returns their losses, (terms, len(order)).

        Images that a stopped training did in this epoch are skipped. Their results come from the checkpoint.
        """
        self.model.train()
        params, device = self.params, self.device
        seeds = rng.integers(2**62, size=len(order)) if params.augmentation else [None] * len(order)
        keys = [(int(index), None if seed is None else int(seed)) for index, seed in zip(order, seeds, strict=True)]
        start = self.n_done
        skipped = min(len(order), max(0, self.position.n_done - start))
        if skipped:
            self._keep(order[:skipped], self.position.results[:, start : start + skipped])
        else:
            self.position.restore_rng(device)
        with contextlib.closing(self.ranks.batches(self.loader, keys[skipped:])) as loaded:
            for batch in loaded:
                self.position.restore_rng(device)  # not before the loader has started, because the loader draws from the generator
                self.ranks.seed(params.seed, len(self.history), self.n_done)
                losses, errors = self.parts.step(self.learner, self.optimizer, batch.to(device), weights, self.positive, self.terms)
                difficulty = losses[0] * (errors + 1) if params.hard_negative_difficulty == "loss_errors" else losses[0]
                results = self.ranks.gathered(torch.cat([losses, difficulty[None]]))
                self._keep(order[self.n_done - start :][: results.shape[1]], results)
                self.watcher.on_batch(self, len(self.history) + 1, self.n_done, self.results.shape[1])
                if self.ranks.agreed(self.watcher.should_stop() or self.signals.number > 0):
                    raise _Stopped
        self._read()
        return self.results[:-1, start : self.n_done]

    def _keep(self, images: np.ndarray, results: torch.Tensor) -> None:
        """Keep the losses and the difficulty of the epoch's next images, (terms + 1, N). A GPU's results are read later."""
        self.unread.append((images, results))
        self.n_done += len(images)
        if len(self.unread) >= self.read_every:
            self._read()

    def _read(self) -> None:
        """Read the results that were kept. Raise UserError if a loss is no number."""
        if not self.unread:
            return
        kept, self.unread = self.unread, []
        sizes = [len(images) for images, _ in kept]
        read = torch.cat([results for _, results in kept], dim=1).cpu().split(sizes, dim=1)
        for (images, _), results in zip(kept, read, strict=True):
            if not torch.isfinite(results).all():
                raise UserError(log.not_a_number(self, self.n_read, [self.stems[index] for index in images]))
            self.results[:, self.n_read : self.n_read + len(images)] = results
            self.memory.difficulty[images] = results[-1]
            self.n_read += len(images)

    def _validate(self, row: dict[str, float]) -> None:
        started = time.perf_counter()
        row.update(self.ranks.once(self._figures))
        self.validation_s = time.perf_counter() - started
        is_best = update_best(self.best, row, self.params.best_model_type)
        if is_best:
            self.best_model = copied(self.model)
        self.run.log.add(log.validation_line(self.params, row, self.validation_s, is_best))

    def _figures(self) -> dict[str, float]:
        with self.signals.raising(_Stopped()):
            return self.parts.validate(self.network, self.params, self.data, self.device)

    def _finish(self) -> None:
        row = self.history[-1]
        if self.params.chooses_checkpoint:
            self.model.load_state_dict(self.best_model)
            row = self.history[self.best["epoch"] - 1]
        self.run.log.add(log.chosen_line(self.params, row))
        self.run.chosen.save(vars(chosen_epoch(self.params, row)))
        finish_training(self.run, self.model)

    def _stop(self, time_s: float) -> Interrupted:
        """Save the state inside this epoch. Returns the error that ends the training."""
        self._read()
        self.run.checkpoint.save(stopped_state(self, time_s))
        self.run.history.save(self.history)
        where = f"in epoch {len(self.history) + 1} of {self.params.epochs} after {self.n_done} of {self.results.shape[1]} images"
        self.run.log.add(f"Stopped {where}; the same run goes on from here.")
        return Interrupted(f"stopped {where}", self.signals.number)
