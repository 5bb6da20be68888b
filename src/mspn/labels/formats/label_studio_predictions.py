"""Pre-labels for Label Studio: tasks with predictions, and the labeling interface that shows them."""

import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from mspn.io.files import write_text
from mspn.labels.formats.label_studio import OUR_NAMES, make_regions, people_by_image
from mspn.labels.label_set import LabeledSet, category_of_set


def write_predictions(labels: LabeledSet, path: Path, scores: Mapping[int, float], *, model: str, address: str) -> None:
    """Write tasks with predictions, which Label Studio shows as pre-labels and sorts by their scores.

    Args:
        labels: what is predicted; the tasks come in the order of the images.
        path: file to write.
        scores: how sure the network is of each image, by its id; 0 to 1.
        model: name of the network.
        address: what stands before each image's name in its address, such as /data/local-files/?d=photos/.

    Raises:
        AnnotationError: if an image's size is not known.
    """
    people = people_by_image(labels)
    tasks = []
    for image in labels.images:
        size = image.known_size(path)
        regions = [region for person in people[image.id] for region in make_regions(person, labels, size)]
        prediction = {"model_version": model, "score": scores[image.id], "result": regions}
        tasks.append({"data": {"image": address + quote(image.file_name)}, "predictions": [prediction]})
    write_text(path, json.dumps(tasks) + "\n")


def write_label_config(labels: LabeledSet, path: Path) -> None:
    """Write the labeling interface (XML) of a project for these keypoints, with rectangles where there are boxes."""
    view = Element("View")
    SubElement(view, "Image", {"name": OUR_NAMES.image, "value": "$image"})
    controls = [("KeyPointLabels", OUR_NAMES.keypoints, labels.skeleton.keypoints)]
    if OUR_NAMES.rectangles is not None and any(person.box is not None for person in labels.people):
        controls.append(("RectangleLabels", OUR_NAMES.rectangles, (category_of_set(labels),)))
    for tag, name, values in controls:
        control = SubElement(view, tag, {"name": name, "toName": OUR_NAMES.image})
        for value in values:
            SubElement(control, "Label", {"value": value})
    indent(view)
    write_text(path, tostring(view, encoding="unicode") + "\n")
