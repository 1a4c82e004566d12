import json

import pytest
import torch

from tests.support import find
from zoo.training.predictions import merge_views


def test_merging_equals_videomambas_evaluation():
    given = json.loads(find("videomamba/pipeline.json").read_text())["merge_views"]
    logits = torch.tensor(given["logits"])
    videos, views = logits.shape[:2]
    rows = torch.arange(videos).repeat_interleave(views)
    labels = torch.tensor(given["labels"]).repeat_interleave(views)
    order = torch.randperm(videos * views)
    merged = merge_views(logits.flatten(0, 1).softmax(1)[order], labels[order], rows[order], num_views=views)
    torch.testing.assert_close(merged.probabilities, torch.tensor(given["probs"]))
    assert merged.probabilities.argmax(1).tolist() == given["pred"] != given["pred_if_logits_were_averaged"]
    assert merged.rows.tolist() == list(range(videos))
    assert merged.labels.tolist() == given["labels"]


def test_missing_and_extra_views_are_named():
    probabilities, labels = torch.full((5, 2), 0.5), torch.zeros(5, dtype=torch.int64)
    rows = torch.tensor([3, 3, 8, 9, 9])
    with pytest.raises(ValueError, match=r"every video must have 2 views; row: number of views found: \{8: 1\}"):
        merge_views(probabilities, labels, rows)
    with pytest.raises(ValueError, match=r"must have 1 views; .*\{3: 2, 9: 2\}"):
        merge_views(probabilities, labels, rows, num_views=1)


def test_views_of_one_video_must_agree_on_its_label():
    with pytest.raises(ValueError, match=r"different labels in rows \[7\]"):
        merge_views(torch.full((4, 2), 0.5), torch.tensor([0, 0, 0, 1]), torch.tensor([2, 2, 7, 7]))
