import pytest

from astr_cli.ops.backends import VARIABLE, numba_problem


@pytest.fixture(scope="module", params=["torch", "numba"])
def backend(request):
    """Each backend that a CPU has, asked for by name."""
    if request.param == "numba" and (problem := numba_problem()):
        pytest.skip(problem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, request.param)
        yield request.param
