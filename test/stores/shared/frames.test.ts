import type { Socket } from 'node:net';
import { Writable } from 'node:stream';
import test from 'ava';
import fc from 'fast-check';
import { FRAME, FrameParser, sendBytes, sendMessage } from '../../../src/stores/shared/frames.js';

type Message =
  | { readonly kind: 'message'; readonly type: (typeof types)[number]; readonly payload: string }
  | { readonly kind: 'data'; readonly bytes: Uint8Array }
  | { readonly kind: 'body'; readonly bytes: Uint8Array };

const types = Object.values(FRAME).filter((type) => type !== FRAME.data && type !== FRAME.request);
const bytes = fc.uint8Array({ maxLength: 300 });
const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({ kind: fc.constant('message' as const), type: fc.constantFrom(...types), payload: fc.string() }),
  fc.record({ kind: fc.constant('data' as const), bytes }),
  fc.record({ kind: fc.constant('body' as const), bytes }),
);

/** Returns the bytes of messages as they are sent. */
function encode(messages: readonly Message[]): Buffer {
  const chunks: Buffer[] = [];
  const sink = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(chunk);
      done();
    },
  });
  const socket = sink as unknown as Socket; // they use only what every writable stream has
  for (const each of messages) {
    if (each.kind === 'message') sendMessage(socket, each.type, { payload: each.payload });
    else if (each.kind === 'data') sendBytes(socket, FRAME.data, each.bytes);
    else {
      sendMessage(socket, FRAME.request, { size: each.bytes.byteLength }, each.bytes);
    }
  }
  return Buffer.concat(chunks);
}

/** Parses bytes in pieces. Returns the messages; adjacent pieces of bodies are joined. */
function parse(pieces: readonly Buffer[]): unknown[] {
  const received: unknown[] = [];
  let body = '';
  const endBody = (): void => {
    if (body !== '') received.push(body);
    body = '';
  };
  const parser = new FrameParser({
    onMessage: (type, payload) => {
      endBody();
      const parsed = payload.byteLength === 0 ? undefined : JSON.parse(payload.toString());
      received.push([type, parsed]);
      if (type === FRAME.request) parser.expectBody(parsed.size);
    },
    onBody: (chunk) => {
      body += chunk.toString('hex');
    },
  });
  for (const piece of pieces) parser.push(piece);
  endBody();
  return received;
}

function expected(messages: readonly Message[]): unknown[] {
  const list: unknown[] = [];
  let body = '';
  const endBody = (): void => {
    if (body !== '') list.push(body);
    body = '';
  };
  for (const each of messages) {
    if (each.kind !== 'data') endBody();
    if (each.kind === 'message') list.push([each.type, { payload: each.payload }]);
    if (each.kind === 'body') list.push([FRAME.request, { size: each.bytes.byteLength }]);
    if (each.kind !== 'message') body += Buffer.from(each.bytes).toString('hex');
    if (each.kind === 'body') {
      endBody();
      list.push([FRAME.end, undefined]);
    }
  }
  endBody();
  return list;
}

test('any split of any sequence of messages and bodies gives the same messages', (t) => {
  const property = fc.property(
    fc.array(message, { maxLength: 20 }),
    fc.array(fc.nat(), { maxLength: 40 }),
    (list, cuts) => {
      const whole = encode(list);
      const ends = [...cuts.map((cut) => cut % (whole.byteLength + 1)), whole.byteLength].sort((a, b) => a - b);
      const pieces = ends.map((end, index) => whole.subarray(ends[index - 1] ?? 0, end));
      t.deepEqual(parse(pieces), expected(list));
      t.deepEqual(parse([...whole].map((byte) => Buffer.of(byte))), expected(list));
    },
  );
  t.notThrows(() => fc.assert(property, { numRuns: 200 }));
});

test('bytes that are no messages are refused', (t) => {
  t.throws(() => parse([Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')]), { message: /^message of/ });
  const parser = new FrameParser({ onMessage() {}, onBody() {} });
  for (const size of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    t.throws(() => parser.expectBody(size), { message: `body of ${size} bytes` });
  }
});
