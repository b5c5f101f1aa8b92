"""Scores predictors on histories, as ``docs/protocols.md`` says, beside the baselines that they have to beat."""

from __future__ import annotations

from preloader.evaluation.baselines import BASELINES
from preloader.evaluation.evaluate import Candidate, Row, evaluate
from preloader.evaluation.scoring import Learn
from preloader.evaluation.task import Task, task_of_parts, task_of_split

__all__ = ["BASELINES", "Candidate", "Learn", "Row", "Task", "evaluate", "task_of_parts", "task_of_split"]
