"""A gate in front of the chunks of a layer, for tests that act in the middle of a run."""

import threading


class Gate:
    """A fault of `FaultyServer` that lets `first` requests for keys with the prefix, or one of several, pass. Others wait until it is opened."""

    def __init__(self, prefix, first):
        self.prefix, self.first = prefix, first
        self.lock, self.opened, self.waiting = threading.Lock(), threading.Event(), threading.Event()
        self.passed = 0
        self.open()

    def __call__(self, request):
        if not request.key.startswith(self.prefix) or self.opened.is_set():
            return
        with self.lock:
            self.passed += 1
            passes = self.passed <= self.first
        if not passes:
            self.waiting.set()
            self.opened.wait(120)

    def open(self):
        self.opened.set()

    def close(self):
        self.passed = 0
        self.opened.clear()
        self.waiting.clear()
