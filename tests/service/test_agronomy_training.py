"""Training on a history in a real database, by the command, and what the service makes of it."""

import json
import math
import random
from functools import cache

import pytest
from click.testing import CliRunner

from fieldhand.cli import cli
from fieldhand.cli import main as run
from fieldhand.received import NodeKey
from fieldhand.service.agronomy import evaporation, forecast, training
from fieldhand.service.agronomy.analysis import Farm, analyse
from fieldhand.service.agronomy.forecast import Model, ModelFileError
from fieldhand.service.farm import FarmSettings
from fieldhand.service.store import agronomy as store
from fieldhand.service.store import nodes, readings, schema
from fieldhand.service.store.agronomy import HOUR_S
from fieldhand.service.store.database import Database

# 1 May 2026, 00:00 UTC.
MAY = 1777593600
NUMBERS = ("mean", "scale", "low", "high", "coefficients")
PLACE = FarmSettings(latitude=13.7, altitude=2)


def weather(hour, rng_day):
    """°C, %, km/h at an hour: a sine over the day on a mean that the day has drawn."""
    angle = math.tau * ((hour % 24) - 9) / 24
    warm = rng_day.uniform(24, 32)
    return (
        warm + 5 * math.sin(angle),
        65 - 20 * math.sin(angle) - (warm - 28),
        8 + 4 * math.sin(angle),
    )


def thirsty_soil(days, seed=4):
    """Quantities by the hour: a soil that dries by the sun and is watered every fifth morning.

    It loses some 1.5 points a day, all of it between 6 and 18 o'clock and more on warm days: not
    what the balance with its defaults would say, nor what stays as it is.
    """
    noise = random.Random(seed)
    moisture, found = 24.0, []
    for day in range(days):
        for hour in range(24):
            temperature, humidity, wind = weather(hour, random.Random(seed * 1000 + day))
            if day % 5 == 4 and hour == 6:
                moisture = 24.0
            sun = max(0.0, math.sin(math.tau * (hour - 6) / 24))
            moisture -= 0.2 * sun * (temperature / 28) ** 2
            found.append(
                {
                    "air_temperature": round(temperature, 2),
                    "relative_humidity": round(humidity, 2),
                    "wind_speed": round(wind, 2),
                    "soil_moisture": round(moisture + noise.gauss(0, 0.03), 2),
                }
            )
    return found


def wandering_soil(days, seed=11):
    """A random walk: the best that can be said of it is that it stays."""
    noise = random.Random(seed)
    found = thirsty_soil(days)
    moisture = 30.0
    for values in found:
        moisture = min(60.0, max(5.0, moisture + noise.gauss(0, 0.15)))
        values["soil_moisture"] = round(moisture, 2)
    return found


def fill(database, history, name="farm_001", options=None):
    with database.writing() as connection:
        node = nodes.register(
            connection, database, NodeKey("farm", "{}", name), options=options or {}
        )
        rows = [
            {
                "node_id": node.id,
                "boot": "b",
                "seq": n,
                "at": float(MAY + n * HOUR_S + 1800),
                "time": MAY + n * HOUR_S + 1800,
                "received": float(MAY + n * HOUR_S + 1801),
                "quality": None,
                "quantities": values,
                "attributes": None,
            }
            for n, values in enumerate(history)
        ]
        assert all(readings.insert(connection, database, schema.reading, rows))
    return node


def hours_of(history):
    return {
        MAY // HOUR_S + n: {name: store.Span(1, v, v, v) for name, v in values.items()}
        for n, values in enumerate(history)
    }


@cache
def learnt():
    """40 days of a soil that can be learnt."""
    return train(thirsty_soil(40))


def train(history, place=PLACE, horizon=6):
    return training.train(hours_of(history), place, "farm:farm_001", horizon, MAY)


# -- what is chosen --------------------------------------------------------------------------------


def test_a_soil_that_can_be_learnt_is_predicted_better_than_by_the_others():
    model = learnt()
    assert model.chosen == "ridge"
    rmse = {way: error.rmse for way, error in model.errors.items()}
    assert rmse["ridge"] < 0.5 * min(rmse["physical"], rmse["naive"])
    assert {error.folds for error in model.errors.values()} == {training.FOLDS}
    # All ways on the same hours.
    assert len({error.samples for error in model.errors.values()}) == 1
    assert "smallest error" in model.why


def test_where_nothing_can_be_learnt_the_trained_model_is_not_used():
    model = train(wandering_soil(40))
    assert model.chosen == "naive"
    assert model.errors["naive"].rmse <= model.errors["ridge"].rmse
    assert "no better" in model.why


def test_too_little_history_is_left_to_physics():
    model = train(thirsty_soil(10))
    assert model.chosen == "physical"
    assert set(model.errors) == {"physical", "naive"}
    assert model.why == f"{model.samples} hours to learn from, 336 are needed"
    assert 100 < model.samples < 336


def test_too_little_history_and_no_latitude():
    model = train(thirsty_soil(10), FarmSettings())
    assert model.chosen == "physical"
    assert set(model.errors) == {"naive"}
    assert model.why.endswith("latitude is not set: [service.agronomy] of the fleet file")


@pytest.mark.parametrize("hours", [0, 1, 12])
def test_next_to_no_history_says_nothing_of_a_latitude_that_is_set(hours):
    model = train(thirsty_soil(1)[:hours])
    assert (model.chosen, model.first is None) == ("physical", model.samples == 0)
    assert "latitude" not in model.why
    assert model.why.endswith("no 24 hours of which 18 have a temperature")


def test_a_soil_of_which_too_little_was_known_is_left_to_physics_as_soon_as_it_can():
    """Trained in its first hours, asked a day later: there is an ET0 by then."""
    model = train(thirsty_soil(1)[:12])
    hours = hours_of(thirsty_soil(2))
    last = max(hours)
    values = {name: span.mean for name, span in hours[last].items()}
    ahead = analyse(Farm(last * HOUR_S + 60.0, values, hours, PLACE, model)).analysis["forecast"]
    assert ahead.state == "physical"
    assert ahead.details["why"] == model.why


def test_a_water_balance_that_could_not_be_compared_is_told():
    history = thirsty_soil(20)
    for values in history:
        del values["air_temperature"]
    assert "the water balance is not compared: no 24 hours" in train(history).why
    assert training.unbalanced(hours_of(thirsty_soil(2)), FarmSettings()) == evaporation.NO_LATITUDE
    assert training.unbalanced(hours_of(thirsty_soil(2)), PLACE) is None
    dark = FarmSettings(latitude=-80)
    assert "the sun does not rise" in training.unbalanced(hours_of(thirsty_soil(2)), dark)


def test_a_sensor_that_never_changes():
    model = train([{**values, "soil_moisture": 20.0} for values in thirsty_soil(20)])
    assert model.chosen == "naive"
    assert "is the sensor in the soil?" in model.why


def test_no_hour_is_predicted_by_one_that_came_later(monkeypatch):
    """Neither in the error that is printed nor in the choice of the penalty within."""
    from sklearn.linear_model import Ridge

    history = thirsty_soil(20)
    # Which hour it is, as a feature: the model's lists stay as they are.
    seen = []
    fit, predict = Ridge.fit, Ridge.predict

    def fitted(self, x, y, **more):
        self.trained_on = x
        return fit(self, x, y, **more)

    def predicted(self, x):
        seen.append((self.trained_on, x))
        return predict(self, x)

    monkeypatch.setattr(Ridge, "fit", fitted)
    monkeypatch.setattr(Ridge, "predict", predicted)
    monkeypatch.setattr(training, "_names", lambda found: ["order", "moisture"])
    found = training.samples(hours_of(history), PLACE, 6)
    for sample in found:
        sample.features["order"] = float(sample.hour)
    monkeypatch.setattr(training, "samples", lambda *args: found)
    monkeypatch.setitem(forecast.UNITS, "order", "h")
    train(history)
    # 5 folds of the error, and 8 penalties on 3 folds of each of their trainings and of the last.
    assert len(seen) == training.FOLDS + 8 * training.PENALTY_FOLDS * (training.FOLDS + 1)
    for known, new in seen:
        # Standardised, yet in order.
        assert known[:, 0].max() < new[:, 0].min()


def test_a_node_without_wind_learns_from_the_rest():
    history = thirsty_soil(20)
    for values in history:
        del values["wind_speed"]
    model = train(history)
    assert "wind" not in model.features
    assert model.chosen == "ridge"


def test_hours_before_water_are_left_out():
    history = thirsty_soil(10)
    found = training.samples(hours_of(history), PLACE, 6)
    watered = MAY // HOUR_S + 4 * 24 + 6
    used = {sample.hour for sample in found}
    # The rise is within [hour + 1, hour + 6] of the six hours before it.
    assert not used & set(range(watered - 6, watered))
    assert {watered - 7, watered} <= used


def test_the_error_is_that_of_a_forecast_by_hand():
    """Four hours, 3 h apart: 20, 19, 18, 17 and so on down by 1/3 point an hour."""
    history = [{"soil_moisture": 30 - n / 3} for n in range(12)]
    model = training.train(hours_of(history), FarmSettings(), "farm:x", 3, MAY)
    # Features begin with the fourth hour, the last has its outcome 3 h later: n = 3 ... 8.
    assert model.errors["naive"].samples == 6
    assert model.errors["naive"].rmse == pytest.approx(1.0)
    assert model.errors["naive"].mae == pytest.approx(1.0)


# -- in use ----------------------------------------------------------------------------------------


def test_the_stored_model_predicts_what_it_was_trained_to():
    history = thirsty_soil(40)
    model = learnt()
    hours = hours_of(history)
    last = max(hours)
    misses = []
    for hour in range(last - 300, last - 6):
        if not training._watered(hours, hour, 6):
            found = forecast.features(hours, hour, PLACE)
            misses.append(forecast.ridge(model, found) - hours[hour + 6]["soil_moisture"].mean)
    assert max(abs(miss) for miss in misses) < 6 * model.errors["ridge"].rmse


def test_an_analysis_tells_the_model_its_error_and_its_inputs():
    history = thirsty_soil(40)
    model = learnt()
    hours = hours_of(history)
    # In the evening, when the soil has stopped drying.
    last = max(hour for hour in hours if hour % 24 == 19) - 24
    known = {hour: spans for hour, spans in hours.items() if hour < last}
    values = {name: span.mean for name, span in hours[last - 1].items()}
    ahead = analyse(Farm(last * HOUR_S + 60.0, values, known, PLACE, model)).analysis["forecast"]
    assert ahead.state == "ridge"
    assert ahead.method.endswith(
        "in 6 h without water from above: ridge regression on this node's own history"
    )
    assert ahead.error == model.errors["ridge"]
    assert set(ahead.inputs) == set(model.features)
    assert ahead.details["trained"] == model.trained
    outcome = hours[last - 1 + 6]["soil_moisture"].mean
    assert ahead.value == pytest.approx(outcome, abs=6 * model.errors["ridge"].rmse)
    # A heat it has not seen.
    heat = store.Span(1, 60.0, 60.0, 60.0)
    beyond = {hour: {**spans, "air_temperature": heat} for hour, spans in known.items()}
    ahead = analyse(Farm(last * HOUR_S + 60.0, values, beyond, PLACE, model)).analysis["forecast"]
    assert ahead.state == "physical"
    assert ahead.error == model.errors["physical"]
    assert "does not apply: vpd is" in ahead.details["why"]


def test_with_a_longitude_the_balance_knows_when_the_sun_is_up():
    even = train(thirsty_soil(10))
    by_sun = train(thirsty_soil(10), PLACE.model_copy(update={"longitude": 0.0}))
    assert by_sun.errors["physical"].rmse < 0.8 * even.errors["physical"].rmse
    assert by_sun.errors["naive"] == even.errors["naive"]


@pytest.mark.parametrize("longitude, night", [(0.0, 0), (180.0, 12)])
def test_the_share_of_a_day(longitude, night):
    place = PLACE.model_copy(update={"longitude": longitude})
    share, _ = forecast.day_share(place, MAY // HOUR_S, 24)
    assert share == pytest.approx(1.0, abs=0.003)
    # From 20 o'clock on there are 8 hours without sun in May at 13.7 degrees north.
    share, how = forecast.day_share(place, MAY // HOUR_S + 20 + night, 8)
    assert share == pytest.approx(0, abs=1e-9)
    assert "eq. 21 and 28" in how
    assert forecast.day_share(PLACE, MAY // HOUR_S + 20, 8)[0] == pytest.approx(1 / 3)


def test_a_model_of_other_settings_is_not_used_and_its_errors_are_not_told():
    history = thirsty_soil(40)
    model = learnt()
    assert model.place == PLACE
    hours = hours_of(history)
    last = max(hours)
    values = {name: span.mean for name, span in hours[last].items()}
    place = PLACE.model_copy(update={"root_depth": 0.9})
    ahead = analyse(Farm(last * HOUR_S + 60.0, values, hours, place, model)).analysis["forecast"]
    assert (ahead.state, ahead.error) == ("physical", None)
    assert "settings are not those it was trained with" in ahead.details["why"]
    assert ahead.details["error"] == "not validated on this farm"


def test_what_lies_beyond_its_training_is_refused():
    history = thirsty_soil(40)
    model = learnt()
    hours = hours_of(history)
    found = forecast.features(hours, max(hours), PLACE)
    with pytest.raises(ValueError, match=r"moisture is 80, in its training 1\d\.\d+ to 2\d"):
        forecast.ridge(model, {**found, "moisture": 80.0})
    with pytest.raises(ValueError, match="trained with vpd, which is not known now"):
        forecast.ridge(model, {k: v for k, v in found.items() if k != "vpd"})


def test_the_file_is_json_and_the_same_when_read_again(tmp_path):
    model = learnt()
    path = forecast.path_of(tmp_path / "new", "farm:a/../b")
    assert path.parent == tmp_path / "new"
    forecast.save(model, path)
    assert forecast.load(path) == model
    assert json.loads(path.read_text())["format"] == 1
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_no_file_is_no_model(tmp_path):
    assert forecast.load(tmp_path / "none.json") is None


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"format": 2}, "is of format 2, not 1: train it again"),
        ({"intercept": "1e999"}, "intercept"),
        ({"mean": [1.0]}, "not of the same length"),
        ({"chosen": "magic"}, "chosen"),
        ({"horizon_h": 0}, "horizon_h"),
        ({"surprise": 1}, "surprise"),
        (
            {"features": ["x"]} | dict.fromkeys(NUMBERS, [1.0]),
            "a feature that is not known here",
        ),
    ],
)
def test_a_model_file_that_was_meddled_with_is_refused(tmp_path, change, reason):
    data = learnt().model_dump()
    path = tmp_path / "m.json"
    path.write_text(json.dumps({**data, **change}))
    with pytest.raises(ModelFileError, match=reason) as caught:
        forecast.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[", "null", "[]", "[" * 100_000, "x" * 70_000, "\0"])
def test_a_model_file_that_is_none(tmp_path, text):
    path = tmp_path / "m.json"
    path.write_text(text)
    with pytest.raises(ModelFileError):
        forecast.load(path)


# -- out of the database ---------------------------------------------------------------------------


def test_hours_of_readings_and_rollups(database):
    node = fill(database, thirsty_soil(1))
    with database.writing() as connection:
        connection.execute(
            schema.rollup_hour.insert(),
            [
                {"node_id": node.id, "quantity": "soil_moisture", "start": MAY - HOUR_S,
                 "n": 9, "min": 1.0, "mean": 2.0, "max": 3.0},
                # Of an hour that has readings: those count.
                {"node_id": node.id, "quantity": "soil_moisture", "start": MAY,
                 "n": 9, "min": 1.0, "mean": 2.0, "max": 3.0},
            ],
        )  # fmt: skip
        rows = [
            {"node_id": node.id, "boot": "c", "seq": n, "at": at, "time": None, "received": at,
             "quality": None, "quantities": values, "attributes": None}
            for n, (at, values) in enumerate(
                [(MAY + 3599.9, {"soil_moisture": 12.0}), (MAY + 3600.0, {"wind_speed": None})]
            )
        ]  # fmt: skip
        readings.insert(connection, database, schema.reading, rows)
    with database.reading() as connection:
        found = store.hours(
            connection,
            database,
            node.id,
            {"soil_moisture": (0, 100), "wind_speed": (0, 400)},
            MAY - HOUR_S,
            MAY + 2 * HOUR_S,
        )
    first = MAY // HOUR_S
    assert sorted(found) == [first - 1, first, first + 1]
    assert found[first - 1] == {"soil_moisture": store.Span(9, 2.0, 1.0, 3.0)}
    by_reading = thirsty_soil(1)[0]["soil_moisture"]
    assert found[first]["soil_moisture"] == store.Span(
        2, pytest.approx((by_reading + 12) / 2), 12.0, by_reading
    )
    assert found[first + 1]["wind_speed"].n == 1


FLEET = """
[node.farm_001]
dialect = "farm"
sensors = [
    { type = "analog", quantity = "soil_moisture", pin = 34, raw = [3200, 1300], value = [0, 100] },
    { type = "analog", quantity = "npk", pin = 35, raw = [0, 4095], value = [0, 1023] },
    { type = "dht11", pin = 4 },
]

[service.agronomy."*"]
latitude = 13.7
altitude = 2
"""


@pytest.fixture
def farm_folder(tmp_path, monkeypatch):
    """A folder with a fleet file that says where the farm is, and the service's database."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fleet.toml").write_text(FLEET)
    database = Database(f"sqlite:///{tmp_path}/.fieldhand/service.db")
    database.open()
    yield tmp_path, database
    database.close()


def test_the_command_prints_the_errors_and_keeps_the_model(farm_folder):
    folder, database = farm_folder
    fill(database, thirsty_soil(20))
    result = CliRunner().invoke(cli, ["agronomy", "train", "farm_001"])
    assert result.exit_code == 0, result.output
    assert "5-fold time-series cross-validation" in result.output
    assert "ridge is used: the smallest error" in result.output
    path = folder / ".fieldhand" / "agronomy" / "farm%3Afarm_001.json"
    model = forecast.load(path)
    for way in ("naive", "physical", "ridge"):
        assert f"{model.errors[way].rmse:.3f}" in result.output
    again = CliRunner().invoke(cli, ["agronomy", "train", "farm_001", "--json", "--hours", "12"])
    told = json.loads(again.stdout)
    assert (told["horizon_h"], told["file"]) == (12, str(path))
    assert Model.model_validate({k: v for k, v in told.items() if k != "file"}) == forecast.load(
        path
    )


@pytest.mark.parametrize(
    "arguments, code, line",
    [
        (["farm_009"], 2, "node 'farm_009': not in the database (did you mean 'farm_001'?); its"),
        (["farm_001"], 1, "no reading of 'farm:farm_001' in the database"),
        (["dry"], 1, "'farm:dry' told no plausible soil moisture in the 120 d before its last"),
        (["dry", "--days", "3"], 1, "in the 3 d before its last reading"),
        (["pv"], 2, "node 'pv': its dialect is solar; only a farm's soil is forecast"),
        (["solar:acme:pv"], 2, "node 'solar:acme:pv': its dialect is solar"),
        (["twice"], 2, "several farms are called so: farm:a:twice, farm:b:twice"),
        (["north"], 2, "node 'farm:north': agronomy.latitude: Input should be less than"),
        (["farm_001", "--database", "sqlite:///nowhere.db"], 2, "nowhere.db: is not there"),
        (["farm_001", "--database", "sqlite:///empty.db"], 2, "which has no farm yet"),
        (["farm_001", "--database", "sqlite:///fleet.toml"], 2, "file is not a database"),
        (["farm_001", "--database", "nonsense"], 2, "is not a database URL"),
    ],
)
def test_a_mistake_is_one_line(farm_folder, capsys, arguments, code, line):
    folder, database = farm_folder
    fill(database, [])
    # A sensor that is not connected tells less than none.
    fill(database, [{"air_temperature": 20.0, "soil_moisture": -1.0}] * 30, "dry")
    fill(database, thirsty_soil(1), "north", {"agronomy": {"latitude": 95}})
    with database.writing() as connection:
        for key in (
            NodeKey("solar", '{"company":"acme"}', "pv"),
            NodeKey("farm", '{"org":"a"}', "twice"),
            NodeKey("farm", '{"org":"b"}', "twice"),
        ):
            nodes.register(connection, database, key)
    empty = Database(f"sqlite:///{folder}/empty.db")
    empty.open()
    empty.close()
    assert run(["agronomy", "train", *arguments]) == code
    told = capsys.readouterr()
    assert line in told.err
    assert told.err.count("\n") == 1
    assert told.out == ""
    assert not (folder / "nowhere.db").exists()
    assert not (folder / ".fieldhand" / "agronomy").exists()


def test_a_farm_is_meant_before_a_node_of_another_dialect(farm_folder):
    _, database = farm_folder
    fill(database, thirsty_soil(1))
    with database.writing() as connection:
        nodes.register(connection, database, NodeKey("plantnanny", "{}", "farm_001"))
    result = CliRunner().invoke(cli, ["agronomy", "train", "farm_001"])
    assert result.exit_code == 0, result.output
    assert "physical is used: " in result.output
    assert "farm%3Afarm_001.json: " in result.output


def test_one_reading_is_too_little_and_says_so(farm_folder):
    folder, database = farm_folder
    fill(database, thirsty_soil(1)[:1])
    result = CliRunner().invoke(cli, ["agronomy", "train", "farm_001"])
    assert result.exit_code == 0, result.output
    first, second = result.output.splitlines()
    assert first == (
        "naive is used until ET0 is known, then physical: 0 hours to learn from, 336 are needed;"
        " ET0 was not known: no 24 hours of which 18 have a temperature"
    )
    assert second == f"{folder}/.fieldhand/agronomy/farm%3Afarm_001.json: 0 hours"
