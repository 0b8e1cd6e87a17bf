// Whole seconds as RFC 3339 in UTC, as Date.toISOString() writes them: six of those were half of what an audit record cost.

const DAY_SECONDS = 86_400;

/** @param seconds since the epoch, whole, from 1970 to 9999; anything else is left to Date. */
export function toUtcTime(seconds: number): string {
  if (!Number.isInteger(seconds) || seconds < 0 || seconds > 253_402_300_799)
    return new Date(seconds * 1000).toISOString();
  const day = Math.floor(seconds / DAY_SECONDS);
  const rest = seconds - day * DAY_SECONDS;
  const hour = Math.floor(rest / 3600);
  const minute = Math.floor((rest % 3600) / 60);
  return `${toDate(day)}T${toTwo(hour)}:${toTwo(minute)}:${toTwo(rest % 60)}.000Z`;
}

/** Days since the epoch as a date of the Gregorian calendar; years begin in March, so that the leap day ends one. */
function toDate(days: number): string {
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365,
  );
  const dayOfYear =
    dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const march = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * march + 2) / 5) + 1;
  const month = march < 10 ? march + 3 : march - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  return `${year}-${toTwo(month)}-${toTwo(day)}`;
}

function toTwo(number: number): string {
  return number < 10 ? `0${number}` : `${number}`;
}
