import test from 'ava';
import fc from 'fast-check';
import { httpDate, parseHttpDate } from '../../src/http/http-date.js';

/** The moment that RFC 9110, 5.6.7 gives its examples for. */
const EXAMPLE_SECONDS = Date.UTC(1994, 10, 6, 8, 49, 37) / 1000;

const LONG_DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];

/** The three formats of one moment, put together from what Date says about it. */
function formats(date: Date): { imfFixdate: string; rfc850: string; asctime: string } {
  const [day, dayOfMonth, month, year, time] = date.toUTCString().replace(',', '').split(' ');
  return {
    imfFixdate: `${day}, ${dayOfMonth} ${month} ${year} ${time} GMT`,
    rfc850: `${LONG_DAYS[date.getUTCDay()]}, ${dayOfMonth}-${month}-${year?.slice(-2)} ${time} GMT`,
    asctime: `${day} ${month} ${dayOfMonth?.replace(/^0/, ' ')} ${time} ${year}`,
  };
}

const seconds = (from: string, to: string) => fc.integer({ min: Date.parse(from) / 1000, max: Date.parse(to) / 1000 });

test('the three examples of the RFC are the same moment', (t) => {
  t.is(parseHttpDate('Sun, 06 Nov 1994 08:49:37 GMT'), EXAMPLE_SECONDS);
  t.is(parseHttpDate('Sunday, 06-Nov-94 08:49:37 GMT'), EXAMPLE_SECONDS);
  t.is(parseHttpDate('Sun Nov  6 08:49:37 1994'), EXAMPLE_SECONDS);
  t.is(httpDate(EXAMPLE_SECONDS * 1000).text, 'Sun, 06 Nov 1994 08:49:37 GMT');
});

test('a moment is floored to its second, before the epoch too', (t) => {
  t.deepEqual(httpDate(1999), { seconds: 1, text: 'Thu, 01 Jan 1970 00:00:01 GMT' });
  t.deepEqual(httpDate(-1), { seconds: -1, text: 'Wed, 31 Dec 1969 23:59:59 GMT' });
});

test('what httpDate writes, parseHttpDate reads', (t) => {
  // Quarters, because file systems keep more than milliseconds.
  const anyMs = fc.integer({ min: -2e14, max: 9e14 }).map((quarters) => quarters / 4);
  fc.assert(
    fc.property(anyMs, (ms) => {
      const date = httpDate(ms);
      t.true(date.seconds * 1000 <= ms && ms < (date.seconds + 1) * 1000);
      t.is(parseHttpDate(date.text), date.seconds);
    }),
  );
});

test('asctime is read for every year of four digits', (t) => {
  fc.assert(
    fc.property(seconds('0000-01-01T00:00:00Z', '9999-12-31T23:59:59Z'), (moment) => {
      const { asctime, imfFixdate } = formats(new Date(moment * 1000));
      t.is(parseHttpDate(asctime), moment);
      t.is(parseHttpDate(imfFixdate), moment);
    }),
  );
});

test('two digits of a year reach from 50 years back to 50 years ahead', (t) => {
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

for (const [text, why] of [
  ['Sun, 06 Nov 1994 08:49:37 UTC', 'another zone'],
  ['Sun, 06 Nov 1994 08:49:37 +0000', 'an offset'],
  ['Sun, 06 Nov 1994 08:49:37', 'no zone'],
  ['Sun, 6 Nov 1994 08:49:37 GMT', 'one digit for the day'],
  ['Sun, 06 nov 1994 08:49:37 GMT', 'lower case'],
  ['sun, 06 Nov 1994 08:49:37 GMT', 'lower case'],
  ['Sun, 06 Foo 1994 08:49:37 GMT', 'no such month'],
  ['Xyz, 06 Nov 1994 08:49:37 GMT', 'no such weekday'],
  ['Sun, 06 Nov 94 08:49:37 GMT', 'two digits for the year in an IMF-fixdate'],
  ['Sunday, 06-Nov-1994 08:49:37 GMT', 'four digits for the year in an RFC 850 date'],
  ['Sun, 06-Nov-94 08:49:37 GMT', 'a short weekday in an RFC 850 date'],
  ['Tue, 31 Nov 1994 08:49:37 GMT', 'no such day'],
  ['Wed, 00 Nov 1994 08:49:37 GMT', 'no such day'],
  ['Wed, 29 Feb 2023 08:49:37 GMT', 'not a leap year'],
  ['Sun, 06 Nov 1994 24:00:00 GMT', 'no such hour'],
  ['Sun, 06 Nov 1994 08:60:00 GMT', 'no such minute'],
  ['Sun, 06 Nov 1994 08:49:60 GMT', 'a leap second in the morning'],
  ['Sun Nov 6 08:49:37 1994', 'one character for the day in an asctime date'],
  ['Sun Nov  6 08:49:37 1994 GMT', 'a zone in an asctime date'],
  [' Sun, 06 Nov 1994 08:49:37 GMT', 'whitespace in front'],
  ['Sun, 06 Nov 1994 08:49:37 GMT\n', 'a line break behind'],
  ['1994-11-06T08:49:37Z', 'ISO 8601'],
  ['784111777', 'a number'],
  ['0', 'a number that Date.parse takes for a year'],
  ['', 'nothing'],
] as const) {
  test(`not an HTTP date: ${JSON.stringify(text)} (${why})`, (t) => {
    t.is(parseHttpDate(text), undefined);
  });
}

test('29 February exists in leap years, and a leap second at the end of a day', (t) => {
  t.is(parseHttpDate('Thu, 29 Feb 2024 00:00:00 GMT'), Date.UTC(2024, 1, 29) / 1000);
  t.is(parseHttpDate('Sat, 31 Dec 2016 23:59:60 GMT'), Date.UTC(2017, 0, 1) / 1000);
});

test('one character more, less or other than a date is no date, or one in the same format', (t) => {
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
        const read = Object.values(formats(new Date(moment * 1000)));
        const withoutWeekday = (value: string) => value.replace(/^[A-Z][a-z]+,? /, '').replace(/^(\w{3}) 0/, '$1  ');
        t.true(read.some((value) => withoutWeekday(value) === withoutWeekday(text)));
      },
    ),
  );
});

test('garbage is no date and does not throw', (t) => {
  fc.assert(fc.property(fc.string(), (text) => t.is(parseHttpDate(text), undefined)));
});

for (const ms of [Number.NaN, Number.POSITIVE_INFINITY, Date.UTC(10_000, 0, 1), -62_167_219_201_000]) {
  test(`no header can carry ${ms} ms`, (t) => {
    t.throws(() => httpDate(ms), { code: 'ERR_HOTBLOB_INVALID_ARTIFACT' });
  });
}
