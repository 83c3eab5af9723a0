import { HotblobError } from '../contract/errors.js';

/** Date of an HTTP header, with a resolution of one second. */
export interface HttpDate {
  /** Seconds since the Unix epoch. */
  readonly seconds: number;
  /** The same date as an IMF-fixdate (RFC 9110, section 5.6.7). */
  readonly text: string;
}

// 1 January 0000: the year of an IMF-fixdate has four digits.
const FIRST_SECOND = -62_167_219_200;

const RECENT_DATES = 512;
/** Dates that were formatted last, because to format one takes longer than to make all other headers of a response. */
const recentDates = new Array<HttpDate | undefined>(RECENT_DATES).fill(undefined);

/**
 * Converts the time of the last change, in milliseconds since the Unix epoch, to the date of a Last-Modified header. Rounds
 * down to a second, because a date later than the last change would make a modified representation look unmodified. A time
 * in the future becomes the current time (RFC 9110, section 8.8.2.1), and a time before the year 0 its beginning.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_ARTIFACT` for NaN
 */
export function httpDate(ms: number): HttpDate {
  if (Number.isNaN(ms)) {
    throw new HotblobError('ERR_HOTBLOB_INVALID_ARTIFACT', 'lastModified: expected a valid date, received NaN');
  }
  const seconds = Math.max(FIRST_SECOND, Math.floor(Math.min(ms, Date.now()) / 1000));
  const slot = Math.abs(seconds) % RECENT_DATES;
  let date = recentDates[slot];
  if (date?.seconds !== seconds) {
    date = { seconds, text: new Date(seconds * 1000).toUTCString() };
    recentDates[slot] = date;
  }
  return date;
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

const IMF_FIXDATE =
  /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?<day>\d\d) (?<month>\w{3}) (?<year>\d{4}) (?<hour>\d\d):(?<minute>\d\d):(?<second>\d\d) GMT$/;
const RFC_850 =
  /^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?<day>\d\d)-(?<month>\w{3})-(?<shortYear>\d\d) (?<hour>\d\d):(?<minute>\d\d):(?<second>\d\d) GMT$/;
const ASCTIME =
  /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (?<month>\w{3}) (?<day>[ \d]\d) (?<hour>\d\d):(?<minute>\d\d):(?<second>\d\d) (?<year>\d{4})$/;

/**
 * Parses a date in one of the three formats that a recipient must accept (RFC 9110, section 5.6.7). The day of the week
 * is not compared with the date, because the RFC encourages recipients to be robust and the other fields determine the
 * date.
 *
 * @returns seconds since the Unix epoch, or `undefined` if `text` is not an HTTP date
 */
export function parseHttpDate(text: string): number | undefined {
  const fields = (IMF_FIXDATE.exec(text) ?? RFC_850.exec(text) ?? ASCTIME.exec(text))?.groups;
  if (fields === undefined) return undefined;
  const month = MONTHS.indexOf(fields['month'] ?? '');
  const day = Number(fields['day']);
  const time = secondOfDay(Number(fields['hour']), Number(fields['minute']), Number(fields['second']));
  if (time === undefined) return undefined;
  return fields['shortYear'] === undefined
    ? secondOf(Number(fields['year']), month, day, time)
    : secondInThisCenturyOrLast(Number(fields['shortYear']), month, day, time);
}

function secondOfDay(hour: number, minute: number, second: number): number | undefined {
  // 23:59:60 is a leap second. It is treated as the first second of the next day.
  const lastSecond = hour === 23 && minute === 59 ? 60 : 59;
  if (hour > 23 || minute > 59 || second > lastSecond) return undefined;
  return hour * 3600 + minute * 60 + second;
}

function secondOf(year: number, month: number, day: number, time: number): number | undefined {
  // Does not use Date.UTC(), which maps the years 0 to 99 to the years 1900 to 1999.
  const date = new Date(0);
  date.setUTCFullYear(year, month, day);
  // A date that does not exist, such as 30 February, overflows into another month.
  if (date.getUTCMonth() !== month) return undefined;
  return date.getTime() / 1000 + time;
}

/**
 * Returns the seconds since the Unix epoch of a date with a two-digit year. If the date would be more than 50 years in
 * the future, the year is taken from the previous century (RFC 9110, section 5.6.7).
 */
function secondInThisCenturyOrLast(shortYear: number, month: number, day: number, time: number): number | undefined {
  const limit = new Date();
  limit.setUTCFullYear(limit.getUTCFullYear() + 50);
  const limitYear = limit.getUTCFullYear();
  const year = limitYear - ((limitYear - shortYear) % 100);
  const seconds = secondOf(year, month, day, time);
  if (seconds === undefined || seconds * 1000 <= limit.getTime()) return seconds;
  return secondOf(year - 100, month, day, time);
}
