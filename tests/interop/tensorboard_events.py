"""Reads the event files of a training with TensorBoard."""

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def read(folder):
    """All events in a folder. By default TensorBoard would omit some scalars and pictures."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    return events.Reload()


def scalars(folder):
    """Per tag: the (step, value) pairs in the order of writing."""
    events = read(folder)
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def pictures(folder):
    """Per tag: the (step, width, height, PNG bytes) of each picture."""
    events = read(folder)
    return {
        tag: [
            (event.step, event.width, event.height, event.encoded_image_string)
            for event in events.Images(tag)
        ]
        for tag in events.Tags()["images"]
    }
