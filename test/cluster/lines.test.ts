import { once } from 'node:events';
import { PassThrough } from 'node:stream';
import test from 'ava';
import { forwardLines, MAX_LINE_LENGTH } from '../../src/cluster/lines.js';

test('lines of two processes do not mix, and a stack trace stays together', async (t) => {
  const written: string[] = [];
  const to = new PassThrough();
  to.on('data', (chunk: Buffer) => written.push(String(chunk)));
  const [a, b] = [new PassThrough(), new PassThrough()];
  forwardLines(a, to);
  forwardLines(b, to);
  a.write('one of ');
  b.write('Error: x\n    at y\n');
  a.write('a\ntwo');
  b.write('unfinished é'.slice(0, 11));
  b.write(Buffer.from([0xc3]));
  b.write(Buffer.from([0xa9]));
  a.end(' of a\n');
  b.end();
  await Promise.all([once(a, 'end'), once(b, 'end')]);
  to.end();
  await once(to, 'end');
  t.deepEqual(written.join('').split(/(?<=\n)/), [
    'Error: x\n',
    '    at y\n',
    'one of a\n',
    'two of a\n',
    'unfinished é\n',
  ]);
});

test('a line without an end is forwarded in pieces', async (t) => {
  const [from, to] = [new PassThrough(), new PassThrough()];
  forwardLines(from, to);
  from.write('x'.repeat(MAX_LINE_LENGTH));
  from.write('yz');
  const [piece] = (await once(to, 'data')) as [Buffer]; // a stream of bytes
  t.is(String(piece), `${'x'.repeat(MAX_LINE_LENGTH)}yz`);
  from.end('end\n');
  const [rest] = (await once(to, 'data')) as [Buffer]; // a stream of bytes
  t.is(String(rest), 'end\n');
});
