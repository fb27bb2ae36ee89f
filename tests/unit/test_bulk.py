"""Many nodes from a CSV file: right as a whole, or nothing is made and every cell is named."""

import json
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from fieldhand import fleetfile
from fieldhand.cli import cli, main
from fieldhand.errors import ConfigError
from fieldhand.fleetfile import template
from fieldhand.provisioning import bulk, credentials


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    template.write(tmp_path)
    return tmp_path / "fleet.toml"


def csv(folder: Path, text: str) -> Path:
    path = folder / "nodes.csv"
    path.write_text(text, "utf-8")
    return path


GOOD = """\
id,like,dialect,board,org,company
north-1,greenhouse,,,,
pool-001,pool,,esp32-devkitc-ota,org-7,
panel-9,,solar,,,acme
greenhouse,,,,,
"""


def test_rows_become_tables_that_the_fleet_file_takes(fleet: Path) -> None:
    read = bulk.read(csv(fleet.parent, GOOD), fleet)
    assert read.nodes == ("north-1", "pool-001", "panel-9", "greenhouse")
    tables = tomllib.loads(read.tables)["node"]
    assert list(tables) == ["north-1", "pool-001", "panel-9"]  # greenhouse is there already
    raw = tomllib.loads(fleet.read_text())["node"]
    assert tables["north-1"] == raw["greenhouse"]
    assert tables["pool-001"] == raw["pool"] | {
        "board": "esp32-devkitc-ota",
        "options": {"org": "org-7"},
    }
    assert tables["panel-9"] == {"dialect": "solar", "options": {"company": "acme"}}
    with fleet.open("a") as file:
        file.write("\n" + read.tables)
    loaded = fleetfile.load(fleet)
    assert set(read.nodes) <= set(loaded.nodes)
    assert loaded.nodes["pool-001"].dosing == loaded.nodes["pool"].dosing
    assert bulk.read(csv(fleet.parent, GOOD), fleet).tables == ""  # a second run does no harm


def test_a_spreadsheets_csv_is_read(fleet: Path) -> None:
    path = fleet.parent / "nodes.csv"
    text = 'id;like;board\r\n"north-1";greenhouse;\r\n\r\n  north-2 ;greenhouse;\r\n'
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert bulk.read(path, fleet).nodes == ("north-1", "north-2")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: no column id"),
        ("name,like\n", "line 1, column name: unknown"),
        ("id,bord\n", "line 1, column bord: unknown (did you mean 'board'?)"),
        ("id,id,like\na,b,c\n", "line 1, column id: is there twice"),
        ("id,like\n", "has no node"),
        ("id,like\na,greenhouse,x\n", "line 2: 3 columns, the first has 2"),
        ("id,like\n,greenhouse\n", "line 2, column id: is empty"),
        ("id,like\na,greenhouse\na,pool\n", "line 3, column id: 'a' is on line 2 already"),
        ("id,like\na:b,greenhouse\n", "line 2, column id: node 'a:b'"),
        ("id,like\na/b,greenhouse\n", "line 2, column id: the name stands in topics"),
        ("id,like\n泵,greenhouse\n", "line 2, column id: '泵' has letters"),
        ("id,like\na,grenhouse\n", "line 2, column like: 'grenhouse' is no node"),
        ("id,dialect\na,\n", "line 2, column dialect: is empty"),
        ("id,dialect\na,plantnany\n", "line 2, column dialect: unknown 'plantnany' (did you mean"),
        ("id,like,dialect\na,pool,solar\n", "column dialect: 'pool' of the fleet file speaks dese"),
        ("id,dialect\ngreenhouse,solar\n", "'greenhouse' of the fleet file speaks plantnanny"),
        ("id,dialect,board\na,iotnode,esp33\n", "line 2, column board: unknown 'esp33'"),
        ("id,dialect\na,solar\n", "line 2, column company: solar needs it"),
        ("id,dialect,company\na,iotnode,acme\n", "column company: iotnode has no option company"),
        ("id,dialect,company\na,solar,ac/me\n", "line 2, column"),
        (
            "id,dialect,use_new_topics\na,plantnanny,yes\n",
            "line 2, column use_new_topics: 'yes' is not true or false",
        ),
        (
            "id,like,board\na,pool,esp32-s3-devkitc\n",
            "line 2, column like: actuators[0] pin: GPIO26 drives the flash chip",
        ),
        ('id,like\n"a,greenhouse\n', "line 2: unexpected end of data"),
        ('"id",like\n"x\ny",greenhouse\nb,nobody\n', "line 4, column like: 'nobody'"),
    ],
)
def test_every_mistake_is_told_with_its_line_and_column(fleet: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        bulk.read(csv(fleet.parent, text), fleet)
    assert f"nodes.csv: {said}" in str(caught.value) or said in str(caught.value)
    assert all("nodes.csv" in line for line in str(caught.value).splitlines())


def test_all_mistakes_are_told_at_once_and_nothing_is_made(fleet: Path) -> None:
    text = "id,like,board\na,greenhouse,\nb,nobody,\nc,pool,esp33\na,pool,\n"
    csv(fleet.parent, text)
    done = CliRunner().invoke(cli, ["provision", "--bulk", "nodes.csv", "--labels", "l.pdf"])
    assert isinstance(done.exception, ConfigError)
    told = [problem.partition(":")[0] for problem in done.exception.problems]
    assert told == ["line 3, column like", "line 4, column board", "line 5, column id"]
    assert not credentials.path_for(fleet).exists() and not Path("l.pdf").exists()


def test_not_utf8_is_told_with_its_line(fleet: Path) -> None:
    path = fleet.parent / "nodes.csv"
    path.write_bytes("id,like\na,greenhouse\nbä,greenhouse\n".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"line 3: is not UTF-8"):
        bulk.read(path, fleet)


def test_the_command_makes_credentials_tables_and_labels_and_shows_no_secret(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    csv(fleet.parent, GOOD)
    arguments = ["provision", "--bulk", "nodes.csv", "--labels", "l.svg", "--json"]
    assert main([*arguments, "--fleet-out", "nodes.toml"]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert result["made"] == ["north-1", "pool-001", "panel-9", "greenhouse"]
    assert result["kept"] == [] and result["labels"] == ["l.svg"]
    made = credentials.load(credentials.path_for(fleet))
    drawn = Path("l.svg").read_text()
    for one in made.values():
        assert one.password not in said.out + said.err + drawn
        assert one.code not in said.out + said.err
        assert one.code in drawn
    assert list(tomllib.loads(Path("nodes.toml").read_text())["node"]) == [
        "north-1",
        "pool-001",
        "panel-9",
    ]
    # Once more: all is kept, and the labels are the same.
    assert main(arguments) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["made"] == [] and len(again["kept"]) == 4
    assert Path("l.svg").read_text() == drawn
    assert credentials.load(credentials.path_for(fleet)) == made


def test_without_a_file_for_them_the_tables_are_the_output(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    csv(fleet.parent, GOOD)
    assert main(["provision", "--bulk", "nodes.csv"]) == 0
    said = capsys.readouterr()
    assert list(tomllib.loads(said.out)["node"]) == ["north-1", "pool-001", "panel-9"]
    assert "append" in said.err


def test_a_thousand_nodes_are_one_fleet_file(fleet: Path) -> None:
    rows = "".join(f"p-{i:04},panel-7,\n" for i in range(1000))
    read = bulk.read(csv(fleet.parent, "id,like,company\n" + rows), fleet)
    assert len(read.nodes) == 1000 and len(read.tables) < fleetfile.MAX_BYTES
    assert len(tomllib.loads(read.tables)["node"]) == 1000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "which nodes?"),
        (["pool", "--all"], "exclude each other"),
        (["--all", "--bulk", "x.csv"], "exclude each other"),
        (["pool", "--fleet-out", "x"], "--fleet-out needs --bulk"),
        (["pool", "--output", "x"], "--output needs --broker-file"),
        (["pool", "--only", "wifi"], "--only needs --port or --over"),
        (["pool", "--over", "mqtt", "--port", "x"], "exclude each other"),
        (["--all", "--port", "x"], "--port needs one NODE"),
        (["pol"], "node 'pol': unknown (did you mean 'pool'?)"),
        (["--bulk", "nodes.csv"], "nodes.csv: No such file"),
        (["pool", "--labels", "l.png"], ".pdf or .svg"),
        (["pool", "--labels", "l.pdf", "--sheet", "3"], "COLUMNSxROWS"),
        (["--broker-file", "mosquitto"], "[broker] user and password"),
    ],
)
def test_wrong_usage_is_told_in_a_line_and_makes_nothing(
    fleet: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["provision", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not credentials.path_for(fleet).exists()


def test_a_short_row_and_an_unknown_column_hide_no_other_mistake(fleet: Path) -> None:
    text = "id,like,colour\na,greenhouse\nb,grenhouse,red\nc,pool,blue\nc,pool,\n"
    with pytest.raises(ConfigError) as refused:
        bulk.read(csv(fleet.parent, text), fleet)
    places = ["line 1, column colour", "line 2", "line 3, column like", "line 5, column id"]
    assert len(refused.value.problems) == len(places)
    for place, problem in zip(places, refused.value.problems, strict=True):
        assert problem.startswith(place + ":")
