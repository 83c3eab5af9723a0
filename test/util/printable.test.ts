import test from 'ava';
import fc from 'fast-check';
import { printable, printableJson, printableLines } from '../../src/util/printable.js';

const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;

test('printable() replaces what a terminal interprets, what is invisible, and what changes the order', (t) => {
  for (const [text, shown] of [
    ['a/b-c_d.e ~\\%', 'a/b-c_d.e ~\\%'],
    ['caf\u00e9 \u4f60\u597d \u05d0 \u{1f600}', 'caf\u00e9 \u4f60\u597d \u05d0 \u{1f600}'],
    ['\u001b[31m\u0007\n\t\u007f', '\\x1b[31m\\x07\\x0a\\x09\\x7f'],
    ['\u009b31m\u0085', '\\x9b31m\\x85'],
    ['a\u202egpj.exe\u2066\u200f', 'a\\u202egpj.exe\\u2066\\u200f'],
    ['\u200b\ufeff\u00ad\u2028\u2029', '\\u200b\\ufeff\\xad\\u2028\\u2029'],
    ['\u{e0041}', '\\u{e0041}'],
    ['\ud800', '\\ud800'],
  ] as const) {
    t.is(printable(text), shown);
  }
  t.is(printableLines('a\n\u009bb\r\n'), 'a\n\\x9bb\\x0d\n');
});

test('no text has an unprintable character afterwards, and JSON keeps its value', (t) => {
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string({ unit: fc.nat(0xffff).map((c) => String.fromCharCode(c)) }),
  );
  fc.assert(
    fc.property(text, (each) => {
      t.notRegex(printable(each), UNPRINTABLE);
      t.notRegex(printableLines(each).replaceAll('\n', ''), UNPRINTABLE);
      const json = printableJson({ [each]: [each] }, 2);
      t.notRegex(json.replaceAll('\n', ''), UNPRINTABLE);
      t.deepEqual(JSON.parse(json), { [each]: [each] });
    }),
  );
});
