"""The examples of the public docstrings run."""

import doctest
import importlib

import pytest

import mspn

_LIBRARIES = {"to_dataframe": "pandas", "to_movement": "xarray"}
NAMES = sorted(set(mspn.__all__) - {"__version__"})


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_public_name_give_what_they_show(name: str):
    public = getattr(mspn, name)
    if name in _LIBRARIES:
        pytest.importorskip(_LIBRARIES[name])
    module = importlib.import_module(public.__module__)
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)

    tests = finder.find(public, name, module=module)
    for test in tests:
        runner.run(test)

    own = next(test for test in tests if test.name == name)
    assert own.examples
    assert runner.summarize(verbose=False).failed == 0
