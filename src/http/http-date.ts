import { HotblobError } from '../contract/errors.js';

/** A moment that an HTTP header can carry: whole seconds, no finer. */
export interface HttpDate {
  /** Since the epoch. */
  readonly seconds: number;
  /** The same moment as it stands in a header: an IMF-fixdate (RFC 9110, 5.6.7). */
  readonly text: string;
}

// 1 January 0000 and 31 December 9999: an IMF-fixdate has four digits for the year.
const FIRST_SECOND = -62_167_219_200;
const LAST_SECOND = 253_402_300_799;

/**
 * The second that `ms` (milliseconds since the epoch) falls into. Floored: a date that ran ahead of the change
 * would call a representation unmodified that is not.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_ARTIFACT` for what no header can carry: NaN, or a year without four digits
 */
export function httpDate(ms: number): HttpDate {
  const seconds = Math.floor(ms / 1000);
  // Written so that NaN fails it too.
  if (!(seconds >= FIRST_SECOND && seconds <= LAST_SECOND)) {
    throw new HotblobError('ERR_HOTBLOB_INVALID_ARTIFACT', `no HTTP date can express ${ms} ms since the epoch`);
  }
  return { seconds, text: new Date(seconds * 1000).toUTCString() };
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

const IMF_FIXDATE =
  /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?<day>\d\d) (?<month>\w{3}) (?<year>\d{4}) (?<hour>\d\d):(?<minute>\d\d):(?<second>\d\d) GMT$/;
const RFC_850 =
  /^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (?<day>\d\d)-(?<month>\w{3})-(?<shortYear>\d\d) (?<hour>\d\d):(?<minute>\d\d):(?<second>\d\d) GMT$/;
const ASCTIME =
  /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) (?<month>\w{3}) (?<day>[ \d]\d) (?<hour>\d\d):(?<minute>\d\d):(?<second>\d\d) (?<year>\d{4})$/;

/**
 * The three formats that a recipient must understand, and nothing else (RFC 9110, 5.6.7). The day of the week is not
 * held against the date: the RFC asks recipients to be robust, and the rest says all there is to know.
 *
 * @returns seconds since the epoch; undefined for anything that is not an HTTP date
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
  // 23:59:60 is a leap second, the only minute with 61 of them; it counts as the first second of the next day.
  const lastSecond = hour === 23 && minute === 59 ? 60 : 59;
  if (hour > 23 || minute > 59 || second > lastSecond) return undefined;
  return hour * 3600 + minute * 60 + second;
}

function secondOf(year: number, month: number, day: number, time: number): number | undefined {
  // Not Date.UTC, which takes the years 0 to 99 for 1900 to 1999.
  const date = new Date(0);
  date.setUTCFullYear(year, month, day);
  // A date that does not exist, such as 30 February, has moved to another month.
  if (date.getUTCMonth() !== month) return undefined;
  return date.getTime() / 1000 + time;
}

/** Two digits that would lie more than 50 years ahead mean the past (RFC 9110, 5.6.7). */
function secondInThisCenturyOrLast(shortYear: number, month: number, day: number, time: number): number | undefined {
  const limit = new Date();
  limit.setUTCFullYear(limit.getUTCFullYear() + 50);
  const limitYear = limit.getUTCFullYear();
  const year = limitYear - ((limitYear - shortYear) % 100);
  const seconds = secondOf(year, month, day, time);
  if (seconds === undefined || seconds * 1000 <= limit.getTime()) return seconds;
  return secondOf(year - 100, month, day, time);
}
