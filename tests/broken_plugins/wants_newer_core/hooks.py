raise AssertionError("must not be imported")
