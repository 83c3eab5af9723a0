import test from 'ava';
import fc from 'fast-check';
import { httpDate, parseHttpDate } from '../../src/http/http-date.js';

/** Date of the examples in RFC 9110, section 5.6.7. */
const EXAMPLE_SECONDS = Date.UTC(1994, 10, 6, 8, 49, 37) / 1000;

const LONG_DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];

/** Returns the three formats of a date. */
function formats(date: Date): { imfFixdate: string; rfc850: string; asctime: string } {
  const [day, dayOfMonth, month, year, time] = date.toUTCString().replace(',', '').split(' ');
  return {
    imfFixdate: `${day}, ${dayOfMonth} ${month} ${year} ${time} GMT`,
    rfc850: `${LONG_DAYS[date.getUTCDay()]}, ${dayOfMonth}-${month}-${year?.slice(-2)} ${time} GMT`,
    asctime: `${day} ${month} ${dayOfMonth?.replace(/^0/, ' ')} ${time} ${year}`,
  };
}

const seconds = (from: string, to: string) => fc.integer({ min: Date.parse(from) / 1000, max: Date.parse(to) / 1000 });

test('parses the three examples of the RFC as the same date', (t) => {
  t.is(parseHttpDate('Sun, 06 Nov 1994 08:49:37 GMT'), EXAMPLE_SECONDS);
  t.is(parseHttpDate('Sunday, 06-Nov-94 08:49:37 GMT'), EXAMPLE_SECONDS);
  t.is(parseHttpDate('Sun Nov  6 08:49:37 1994'), EXAMPLE_SECONDS);
  t.is(httpDate(EXAMPLE_SECONDS * 1000).text, 'Sun, 06 Nov 1994 08:49:37 GMT');
});

test('rounds down to a second, also before the epoch', (t) => {
  t.deepEqual(httpDate(1999), { seconds: 1, text: 'Thu, 01 Jan 1970 00:00:01 GMT' });
  t.deepEqual(httpDate(-1), { seconds: -1, text: 'Wed, 31 Dec 1969 23:59:59 GMT' });
});

test('parses every date that httpDate returns', (t) => {
  // Quarters of a millisecond, because file systems have a finer resolution.
  const anyMs = fc.integer({ min: -2e14, max: 4 * Date.now() }).map((quarters) => quarters / 4);
  fc.assert(
    fc.property(anyMs, (ms) => {
      const date = httpDate(ms);
      t.true(date.seconds * 1000 <= ms && ms < (date.seconds + 1) * 1000);
      t.is(parseHttpDate(date.text), date.seconds);
    }),
  );
});

test('a time in the future becomes the current time, and any time has a year of four digits', (t) => {
  const times = fc.oneof(
    fc.double({ noNaN: true }),
    fc.maxSafeInteger(),
    fc.constantFrom(Date.UTC(10_000, 0), 8.64e15),
  );
  fc.assert(
    fc.property(times, (ms) => {
      const before = Math.floor(Date.now() / 1000);
      const { seconds: sent, text } = httpDate(ms);
      t.true(parseHttpDate(text) === sent, text); // 0 and -0 are the same
      t.true(sent <= Date.now() / 1000);
      if (ms / 1000 > before + 60) t.true(sent >= before);
    }),
  );
  t.throws(() => httpDate(Number.NaN), { code: 'ERR_HOTBLOB_INVALID_ARTIFACT' });
});

test('parses asctime and IMF-fixdate for every year of four digits', (t) => {
  fc.assert(
    fc.property(seconds('0000-01-01T00:00:00Z', '9999-12-31T23:59:59Z'), (moment) => {
      const { asctime, imfFixdate } = formats(new Date(moment * 1000));
      t.is(parseHttpDate(asctime), moment);
      t.is(parseHttpDate(imfFixdate), moment);
    }),
  );
});

test('a year of two digits is between 50 years ago and 50 years from now', (t) => {
  const day = 24 * 3600;
  const now = new Date();
  const inYears = (years: number) => Math.floor(new Date(now).setUTCFullYear(now.getUTCFullYear() + years) / 1000);
  t.is(parseHttpDate(formats(new Date((inYears(50) - day) * 1000)).rfc850), inYears(50) - day);
  t.is(parseHttpDate(formats(new Date((inYears(50) + day) * 1000)).rfc850), inYears(-50) + day);
  fc.assert(
    fc.property(fc.integer({ min: inYears(-50) + day, max: inYears(50) - day }), (moment) => {
      t.is(parseHttpDate(formats(new Date(moment * 1000)).rfc850), moment);
    }),
  );
});

for (const [text, reason] of [
  ['Sun, 06 Nov 1994 08:49:37 UTC', 'another time zone'],
  ['Sun, 06 Nov 1994 08:49:37 +0000', 'an offset'],
  ['Sun, 06 Nov 1994 08:49:37', 'no time zone'],
  ['Sun, 6 Nov 1994 08:49:37 GMT', 'one digit for the day'],
  ['Sun, 06 nov 1994 08:49:37 GMT', 'lower case'],
  ['sun, 06 Nov 1994 08:49:37 GMT', 'lower case'],
  ['Sun, 06 Foo 1994 08:49:37 GMT', 'unknown month'],
  ['Xyz, 06 Nov 1994 08:49:37 GMT', 'unknown weekday'],
  ['Sun, 06 Nov 94 08:49:37 GMT', 'two digits for the year in an IMF-fixdate'],
  ['Sunday, 06-Nov-1994 08:49:37 GMT', 'four digits for the year in an RFC 850 date'],
  ['Sun, 06-Nov-94 08:49:37 GMT', 'a short weekday in an RFC 850 date'],
  ['Tue, 31 Nov 1994 08:49:37 GMT', 'invalid day'],
  ['Wed, 00 Nov 1994 08:49:37 GMT', 'invalid day'],
  ['Wed, 29 Feb 2023 08:49:37 GMT', 'not a leap year'],
  ['Sun, 06 Nov 1994 24:00:00 GMT', 'invalid hour'],
  ['Sun, 06 Nov 1994 08:60:00 GMT', 'invalid minute'],
  ['Sun, 06 Nov 1994 08:49:60 GMT', 'a leap second that is not at the end of a day'],
  ['Sun Nov 6 08:49:37 1994', 'one character for the day in an asctime date'],
  ['Sun Nov  6 08:49:37 1994 GMT', 'a zone in an asctime date'],
  [' Sun, 06 Nov 1994 08:49:37 GMT', 'leading whitespace'],
  ['Sun, 06 Nov 1994 08:49:37 GMT\n', 'a trailing line break'],
  ['1994-11-06T08:49:37Z', 'ISO 8601'],
  ['784111777', 'a number'],
  ['0', 'a number that Date.parse accepts as a year'],
  ['', 'an empty text'],
] as const) {
  test(`rejects ${JSON.stringify(text)} (${reason})`, (t) => {
    t.is(parseHttpDate(text), undefined);
  });
}

test('accepts 29 February in leap years and a leap second at the end of a day', (t) => {
  t.is(parseHttpDate('Thu, 29 Feb 2024 00:00:00 GMT'), Date.UTC(2024, 1, 29) / 1000);
  t.is(parseHttpDate('Sat, 31 Dec 2016 23:59:60 GMT'), Date.UTC(2017, 0, 1) / 1000);
});

test('a date with one changed character is rejected, or is another date in the same format', (t) => {
  const valid = formats(new Date(EXAMPLE_SECONDS * 1000));
  fc.assert(
    fc.property(
      fc.constantFrom(valid.imfFixdate, valid.rfc850, valid.asctime),
      fc.nat(40),
      fc.string({ maxLength: 2 }),
      (date, at, inserted) => {
        const text = date.slice(0, at) + inserted + date.slice(at + 1);
        const moment = parseHttpDate(text);
        if (moment === undefined) return;
        const dates = Object.values(formats(new Date(moment * 1000)));
        const withoutWeekday = (value: string) => value.replace(/^[A-Z][a-z]+,? /, '').replace(/^(\w{3}) 0/, '$1  ');
        t.true(dates.some((value) => withoutWeekday(value) === withoutWeekday(text)));
      },
    ),
  );
});

test('rejects random text without throwing', (t) => {
  fc.assert(fc.property(fc.string(), (text) => t.is(parseHttpDate(text), undefined)));
});
