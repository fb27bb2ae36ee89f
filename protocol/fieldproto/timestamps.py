"""ISO 8601 UTC to Unix seconds and back, in ints.

Not by `time`: its epoch is 2000 on the ESP32 and 1970 elsewhere, and a float loses minutes in
the ESP32's single precision. The day count is Howard Hinnant's civil calendar algorithm,
https://howardhinnant.github.io/date_algorithms.html
"""

_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def days_from_civil(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 of a Gregorian date."""
    year -= month <= 2
    era = year // 400
    yoe = year - era * 400
    doy = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + yoe * 365 + yoe // 4 - yoe // 100 + doy - 719468


def format_utc(epoch: int) -> str:
    """Unix seconds (int) as `YYYY-MM-DDTHH:MM:SSZ`."""
    days, rest = divmod(epoch, 86400)
    days += 719468
    era = days // 146097
    doe = days - era * 146097
    yoe = (doe - doe // 1460 + doe // 36524 - doe // 146096) // 365
    doy = doe - (365 * yoe + yoe // 4 - yoe // 100)
    mp = (5 * doy + 2) // 153
    day = doy - (153 * mp + 2) // 5 + 1
    month = mp + 3 if mp < 10 else mp - 9
    year = yoe + era * 400 + (month <= 2)
    return "%04d-%02d-%02dT%02d:%02d:%02dZ" % (
        year,
        month,
        day,
        rest // 3600,
        rest // 60 % 60,
        rest % 60,
    )


def parse_utc(text: str) -> int:
    """Unix seconds of an ISO 8601 UTC time; a fraction of a second is dropped.

    Accepts `2025-01-27T10:00:00Z`, `...00.123Z` and `...00+00:00`. Raises ValueError.
    """
    if text.endswith("+00:00"):
        text = text[:-6] + "Z"
    body = text[:-1]
    if len(body) > 19 and body[19] == "." and _digits(body[20:]):
        body = body[:19]
    if text[-1:] != "Z" or len(body) != 19 or _separators(body) != "--T::":
        raise ValueError("is not an ISO 8601 UTC time such as 2025-01-27T10:00:00Z")
    parts = [body[:4]] + [body[i : i + 2] for i in (5, 8, 11, 14, 17)]
    for part in parts:
        if not _digits(part):
            raise ValueError("is not an ISO 8601 UTC time such as 2025-01-27T10:00:00Z")
    year, month, day, hour, minute, second = [int(part) for part in parts]
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if (
        not 1 <= month <= 12
        or not 1 <= day <= _DAYS[month - 1]
        or (month == 2 and day == 29 and not leap)
        or hour > 23
        or minute > 59
        or second > 60
    ):
        raise ValueError("is not a time that exists")
    return days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second


def _separators(body: str) -> str:
    return body[4] + body[7] + body[10] + body[13] + body[16]


def _digits(text: str) -> bool:
    for char in text:
        if char not in "0123456789":
            return False
    return text != ""


def minute_of_day(time):
    """Minutes since midnight of "HH:MM", or None where it is no such thing."""
    if not isinstance(time, str) or len(time) != 5 or time[2] != ":":
        return None
    hours, minutes = time[:2], time[3:]
    if not (hours.isdigit() and minutes.isdigit()) or int(hours) > 23 or int(minutes) > 59:
        return None
    return int(hours) * 60 + int(minutes)
