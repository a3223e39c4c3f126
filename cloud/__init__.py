"""Runs the training programs on several machines: Slurm, Kubernetes, Docker, SageMaker (docs/several_machines.md)."""
