"""The tally counts what failed, whatever else it sees."""

from tally import tally

GTEST = """<testsuites><testsuite name="A">
<testcase name="Good" status="run" result="completed"/>
<testcase name="Bad" status="run" result="completed"><failure message="no"/></testcase>
<testcase name="Skipped" status="run" result="skipped"><skipped/></testcase>
</testsuite></testsuites>"""
GOOD = '<testsuite><testcase name="Good"/><testcase name="Better"/></testsuite>'


def ctest(**programs):
    cases = "".join(
        f'<testcase name="{name}" status="{"run" if ok else "fail"}">'
        f'{"" if ok else "<failure/>"}</testcase>' for name, ok in programs.items())
    return f"<testsuite>{cases}</testsuite>"


def test_cases_of_programs_are_counted_once(tmp_path):
    (tmp_path / "ctest.xml").write_text(ctest(a=False, c=True))
    (tmp_path / "a.xml").write_text(GTEST)
    (tmp_path / "c.xml").write_text(GOOD)
    assert tally(tmp_path, 8) == (3, 2)


def test_a_program_that_crashed_is_a_failure(tmp_path):
    (tmp_path / "ctest.xml").write_text(ctest(a=True, b=False))
    (tmp_path / "a.xml").write_text(GOOD)
    (tmp_path / "b.xml").write_text("<testsuites><testsuite")
    assert tally(tmp_path, 8) == (2, 1)


def test_a_program_that_fails_after_its_cases_is_a_failure(tmp_path):
    (tmp_path / "ctest.xml").write_text(ctest(a=False))
    (tmp_path / "a.xml").write_text(GOOD)
    assert tally(tmp_path, 8) == (2, 1)


def test_a_phase_that_fails_without_a_case_is_a_failure(tmp_path):
    assert tally(tmp_path, 1) == (0, 1)
    (tmp_path / "x.xml").write_text(GOOD)
    assert tally(tmp_path, 2) == (2, 1)


def test_a_phase_without_cases_is_one(tmp_path):
    assert tally(tmp_path, 0) == (1, 0)
