"""The loss by which scores of candidates teach embeddings; as in `losses`, tensors in, a scalar out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .losses import Similarity, batch_mean, without_autocast

_ABSENT = torch.finfo(torch.float32).min / 2  # the logit of what is in another list; its gradient is 0, not NaN


@without_autocast
def distillation(
    text: Tensor, video: Tensor, scale: Tensor, teacher: Tensor, lists: Tensor, *, similarity: Similarity | None = None
) -> Tensor:
    """Return KL(teacher || student) of the candidates of each query, the mean over all queries of all processes.

    Source: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, with the candidates of a query as the
    classes.

    Args:
        text: (B, D), a query in each row, of any length.
        video: (B, D), one candidate of the query.
        scale: what the student's scores are multiplied by (1 / temperature), a scalar.
        teacher: (B,), the teacher's logit of each candidate.
        lists: (B,) int64, the same number for the candidates of one query; a list is whole in one process.
        similarity: as in `losses.info_nce`. None: cosines.

    Returns:
        A scalar; 0 where every query has one candidate.
    """
    text, video = text.float(), video.float()
    if similarity is None:
        scores = functional.cosine_similarity(text, video, dim=-1)  # (B,)
    else:
        scores = similarity(text, video, "t2v").diagonal(dim1=-2, dim2=-1)  # (B,), or (L, B) of L levels
    numbers = torch.unique(lists)
    member = lists == numbers[:, None]  # (Q, B)
    student = (scale * scores)[..., None, :].masked_fill(~member, _ABSENT).log_softmax(dim=-1)  # (..., Q, B)
    target = teacher.float().masked_fill(~member, _ABSENT).log_softmax(dim=-1)  # (Q, B)
    divergence = (target.exp() * (target - student)).sum(dim=-1)  # (..., Q)
    return batch_mean(divergence.reshape(-1, len(numbers)).sum(dim=0))
