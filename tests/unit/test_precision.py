"""The choice of a precision: timed by turns, by the best of each."""

import torch

from wanimage.models import precision


def test_a_precision_that_was_held_up_once_is_still_chosen(monkeypatch):
    def seconds(work: object, dtype: torch.dtype) -> float:
        timed.append(dtype)
        return {torch.float32: 1.0 if len(timed) < 3 else 0.02, torch.bfloat16: 0.1}[dtype]

    timed: list[torch.dtype] = []
    monkeypatch.setattr(precision, "_seconds", seconds)
    assert precision.faster_dtype(lambda: None) is torch.float32
    assert timed == [torch.float32, torch.bfloat16] * (precision.ROUNDS + 1)
