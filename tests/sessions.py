"""A start of training, as weights and run folders tell of it."""

from mspn.checkpoints.metadata import SetFingerprint, TrainingSession

SESSION = TrainingSession(
    started="2026-01-02T03:04:05+00:00",
    iteration=0,
    command="mspn train mspn-2 --out run",
    mspn="0.1.0",
    git=None,
    python="3.11.7",
    torch="2.13.0",
    numpy="2.4.0",
    opencv="5.0.0",
    system="Linux",
    processor="Quick 9000",
    gpus=(),
    threads=2,
    processes=1,
    data=(SetFingerprint(annotations="people.json", sha256="ab12", images=1200, people=3400),),
)
