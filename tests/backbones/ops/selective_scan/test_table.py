import pytest
import torch

from backbones.ops.selective_scan import fused, implementations, selective_scan, table
from backbones.ops.selective_scan.table import Row, choose


def test_a_misspelt_implementation_gets_the_closest_name(problem):
    with pytest.raises(ValueError, match=r"no implementation 'chunkd'.*did you mean 'chunked'"):
        selective_scan(problem()[0], implementation="chunkd")


def test_an_unlike_name_gets_all_names():
    with pytest.raises(
        ValueError,
        match=r"there are \['auto', 'triton', 'compiled', 'chunked', 'associative', 'mamba_ssm', 'reference'\]",
    ):
        choose("zzz")


@pytest.fixture
def undecided(monkeypatch):
    """A process that never chose, in which nobody wishes for a row."""
    monkeypatch.setattr(table, "_ready_rows", [])
    monkeypatch.delenv(table.VARIABLE, raising=False)


@pytest.mark.usefixtures("undecided")
def test_auto_takes_the_first_available_row_and_others_say_why_not(monkeypatch):
    rows = {"absent": Row(None, False, "needs a GPU"), "chunked": implementations()["chunked"]}
    monkeypatch.setattr(table, "implementations", lambda: rows)
    assert choose("auto") == rows["chunked"]
    with pytest.raises(ValueError, match="'absent' of the selective scan is not available: needs a GPU"):
        choose("absent")


@pytest.mark.usefixtures("undecided")
def test_auto_passes_over_a_row_that_does_not_take_the_input(monkeypatch):
    rows = {"picky": Row(implementations()["reference"].function, True, "", lambda u: u.dtype == torch.float16)}
    rows |= {"chunked": implementations()["chunked"]}
    monkeypatch.setattr(table, "implementations", lambda: rows)
    assert choose("auto", torch.zeros(1)) == rows["chunked"]
    assert choose("auto", torch.zeros(1, dtype=torch.float16)) == rows["picky"]


class OnGpu(torch.Tensor):
    """A tensor that says it is on a GPU, which is what a choice looks at."""

    is_cuda, is_cpu = True, False


def test_auto_prefers_triton_on_a_gpu_and_never_elsewhere_or_in_double_precision(undecided, monkeypatch):
    monkeypatch.setattr(fused, "unusable", lambda: None)
    monkeypatch.setattr(table, "_no_kernel", "no compiler")
    found = [
        choose("auto", u)
        for u in (
            torch.zeros(1, dtype=torch.bfloat16).as_subclass(OnGpu),
            torch.zeros(1, dtype=torch.float64).as_subclass(OnGpu),
            torch.zeros(1),
        )
    ]
    rows = implementations()
    assert found == [rows[name] for name in ("triton", "chunked", "chunked")]


@pytest.fixture
def kernel_state(undecided, monkeypatch):
    """Sets whether the kernel is built, whether a build works and what ZOO_SCAN says."""

    def set_up(*, built, builds, variable):
        answers = {False: "" if built else "it is not built yet", True: "" if built or builds else "no compiler"}
        monkeypatch.setattr(table.kernel, "load", lambda *, build: answers[build])
        monkeypatch.setattr(table, "_no_kernel", "")
        monkeypatch.setenv(table.VARIABLE, variable)

    return set_up


@pytest.mark.parametrize(
    ("variable", "built", "builds", "taken"),
    [
        ("", True, True, "compiled"),
        ("", False, True, "compiled"),
        ("", False, False, "chunked"),
        ("compiled", False, True, "compiled"),
        ("compiled", False, False, "chunked"),
        ("chunked", True, True, "chunked"),
        ("reference", True, True, "reference"),
    ],
)
def test_auto_takes_what_is_built_or_what_the_variable_names(kernel_state, caplog, variable, built, builds, taken):
    kernel_state(built=built, builds=builds, variable=variable)
    assert choose("auto", torch.zeros(1)) == implementations()[taken]
    fell_back = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    line = "selective scan: not 'compiled', because no compiler"
    assert fell_back == ([] if builds or variable not in ("", "compiled") else [line])


def test_a_machine_with_a_gpu_builds_nothing_for_its_cpu(kernel_state, monkeypatch, caplog):
    kernel_state(built=False, builds=True, variable="")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose("auto", torch.zeros(1)) == implementations()["chunked"]
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_auto_stays_what_it_was_in_the_middle_of_a_process(kernel_state, monkeypatch):
    kernel_state(built=False, builds=False, variable="")
    before = choose("auto")
    monkeypatch.setattr(table.kernel, "load", lambda *, build: "")
    assert choose("auto") == before


def test_a_kernel_for_cpus_serves_no_other_device(kernel_state):
    kernel_state(built=True, builds=True, variable="compiled")
    assert choose("auto", torch.zeros(1).as_subclass(OnGpu)) == implementations()["chunked"]


def test_a_misspelt_variable_is_named(kernel_state):
    kernel_state(built=True, builds=True, variable="compield")
    with pytest.raises(ValueError, match=r"\(ZOO_SCAN\) 'compield'.*did you mean 'compiled'"):
        choose("auto")


def test_asking_for_the_kernel_by_name_says_why_it_cannot_be_had(kernel_state):
    kernel_state(built=False, builds=False, variable="")
    with pytest.raises(ValueError, match="'compiled' of the selective scan is not available: no compiler"):
        choose("compiled")


@pytest.mark.parametrize("name", ["chunked", "associative", "reference"])
def test_every_row_is_available_and_says_what_it_needs(problem, name):
    row = implementations()[name]
    assert row.available
    assert "torch alone" in row.reason
    inputs, z = problem()
    torch.testing.assert_close(
        selective_scan(inputs, z, implementation=name), selective_scan(inputs, z, implementation="reference")
    )


def test_a_named_auto_that_does_not_take_the_input_is_named(problem, monkeypatch):
    """As when a program is traced on a CPU for the Triton kernels."""
    monkeypatch.setattr(fused, "INSTALLED", True)
    monkeypatch.setattr(fused, "INTERPRETED", True)
    with table.auto_is("triton"), pytest.raises(ValueError, match=r"'triton' .* does not take torch\.float64 on cpu"):
        selective_scan(problem()[0])
