import json

import pytest

from mspn.errors import InvalidValueError, import_extra


def test_an_extra_that_is_installed_is_imported():
    assert import_extra("json", InvalidValueError("needs json")) is json


def test_a_missing_extra_raises_the_error_that_names_it():
    missing = InvalidValueError("needs a library; pip install it")

    with pytest.raises(InvalidValueError, match="needs a library; pip install it") as raised:
        import_extra("no_such_library_anywhere", missing)
    assert isinstance(raised.value.__cause__, ImportError)
