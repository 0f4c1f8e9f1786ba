"""SAELens' side of `benchmarks.sae`: needs sae-lens and nothing of lacewing.

    PYTHON -I benchmarks/sae_lens_side.py FOLDER

Reads FOLDER/settings.json and the activations it names, trains with SAELens' own trainer and its
own defaults for TopK, saves with SAELens' own function, and writes the seconds of the training.
"""

import contextlib
import io
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.config import LoggingConfig, SAETrainerConfig
from sae_lens.training.sae_trainer import SAETrainer
from safetensors.torch import load_file


def main(place: Path) -> None:
    """Train and save."""
    said = json.loads((place / "settings.json").read_text(encoding="utf-8"))
    torch.manual_seed(said["seed"])
    rows = load_file(said["activations"])["activations"]
    steps, width = len(rows) // said["batch"], rows.shape[1]
    sae = TopKTrainingSAE(
        TopKTrainingSAEConfig(d_in=width, d_sae=said["expansion"] * width, k=said["k"])
    )
    config = SAETrainerConfig(
        n_checkpoints=0,
        checkpoint_path=None,
        save_final_checkpoint=False,
        total_training_samples=len(rows),
        device="cpu",
        autocast=False,
        lr=said["rate"],
        lr_end=said["rate"] / 10,  # as its runner sets it
        lr_scheduler_name="constant",
        lr_warm_up_steps=0,
        adam_beta1=0.9,
        adam_beta2=0.999,
        lr_decay_steps=steps // 5,
        n_restart_cycles=1,
        train_batch_size_samples=said["batch"],
        dead_feature_window=max(1, steps // 10),
        feature_sampling_window=2000,
        logger=LoggingConfig(log_to_wandb=False),
    )

    def batches() -> Iterator[torch.Tensor]:
        """The rows in their order; the trainer may look at one batch more than it learns from."""
        while True:
            yield from rows.split(said["batch"])

    trainer = SAETrainer(cfg=config, sae=sae, data_provider=batches())
    wall, processor = time.perf_counter(), time.process_time()
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        trained = trainer.fit()
    spent = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
    spent["threads"] = torch.get_num_threads()
    trained.save_inference_model(str(place))
    (place / "times.json").write_text(json.dumps(spent), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
