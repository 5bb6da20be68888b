"""RT-DETR (github.com/lyuwenyu/RT-DETR) and D-FINE (github.com/Peterande/D-FINE), both Apache-2.0."""

import numpy as np

from mspn.detectors.letterbox import stretch_over
from mspn.detectors.onnx.layout import Candidates, Layout, Outputs, boxes_from_centers, candidates_of
from mspn.detectors.selection import MIN_SCORE
from mspn.structures.boxes import Size


def _read_detections(outputs: Outputs, _size: Size) -> Candidates | None:
    """`labels` (1, N), `boxes` (1, N, 4) and `scores` (1, N), as the authors of both export.

    Boxes are corners in pixels of the size that is given as `orig_target_sizes`: that of the input.
    """
    if set(outputs) != {"labels", "boxes", "scores"}:
        return None
    labels, boxes, scores = (outputs[name] for name in ("labels", "boxes", "scores"))
    if boxes.ndim != 3 or boxes.shape[2] != 4 or not labels.shape == scores.shape == boxes.shape[:2]:
        return None
    is_good = scores[0] >= MIN_SCORE
    return Candidates(boxes[0, is_good], scores[0, is_good], labels[0, is_good].astype(int), None)


def _read_queries(outputs: Outputs, size: Size) -> Candidates | None:
    """`logits` (1, N, C) and `pred_boxes` (1, N, 4), middles and extents from 0 to 1, as Hugging Face exports."""
    logits, boxes = outputs.get("logits"), outputs.get("pred_boxes")
    if logits is None or boxes is None or logits.ndim != 3 or boxes.shape != (*logits.shape[:2], 4):
        return None
    centers = boxes[0] * np.array([size.width, size.height] * 2, np.float32)
    return candidates_of(boxes_from_centers(centers), 1 / (1 + np.exp(-logits[0])))


RTDETR = Layout(stretch_over, True, (0.0, 0.0, 0.0), (255.0, 255.0, 255.0), _read_detections, None)
RTDETR_QUERIES = Layout(stretch_over, True, (0.0, 0.0, 0.0), (255.0, 255.0, 255.0), _read_queries, None)
