import test from 'ava';
import { UsageError } from '../../../src/cli/command.js';
import { TrustedProxies } from '../../../src/cli/serve/trusted-proxies.js';

const proxies = new TrustedProxies(['loopback', '10.0.0.0/8', '2001:db8::1']);
const client = (remoteAddress: string | undefined, headers: Record<string, string> = {}) =>
  proxies.clientOf({ remoteAddress, headers });

test('a client that is not a trusted proxy cannot choose its address', (t) => {
  t.is(client('192.0.2.1', { 'x-forwarded-for': '203.0.113.9' }), '192.0.2.1');
  t.is(client('192.0.2.1', { forwarded: 'for=203.0.113.9' }), '192.0.2.1');
  t.is(client(undefined, { 'x-forwarded-for': '203.0.113.9' }), undefined);
});

test('the client is the last address that is not a trusted proxy', (t) => {
  t.is(client('127.0.0.1'), '127.0.0.1');
  t.is(client('127.0.0.1', { 'x-forwarded-for': '203.0.113.9' }), '203.0.113.9');
  t.is(client('::ffff:127.0.0.1', { 'x-forwarded-for': '203.0.113.9' }), '203.0.113.9');
  t.is(client('127.0.0.1', { 'x-forwarded-for': '198.51.100.1, 203.0.113.9, 10.1.2.3' }), '203.0.113.9');
  t.is(client('2001:db8::1', { 'x-forwarded-for': '2001:db8::2' }), '2001:db8::2');
  t.is(client('127.0.0.1', { 'x-forwarded-for': '10.0.0.1, 10.0.0.2' }), '10.0.0.1');
});

test('reads Forwarded, with ports, brackets and quotes', (t) => {
  t.is(client('127.0.0.1', { forwarded: 'for=203.0.113.9;proto=https' }), '203.0.113.9');
  t.is(client('127.0.0.1', { forwarded: 'by=10.0.0.1; FOR="203.0.113.9:4711", for=10.0.0.3' }), '203.0.113.9');
  t.is(client('127.0.0.1', { forwarded: 'for="[2001:db8::2]:4711"' }), '2001:db8::2');
  t.is(client('127.0.0.1', { forwarded: 'for=203.0.113.9', 'x-forwarded-for': '198.51.100.1' }), '203.0.113.9');
});

test('stops at what is not an address', (t) => {
  t.is(client('127.0.0.1', { 'x-forwarded-for': '203.0.113.9, unknown' }), '127.0.0.1');
  t.is(client('127.0.0.1', { forwarded: 'for=203.0.113.9, for=_hidden, for=10.0.0.2' }), '10.0.0.2');
  for (const text of ['', ',', 'x'.repeat(10_000), '1.2.3.4.5', '[::1', '\0']) {
    t.is(client('127.0.0.1', { 'x-forwarded-for': text }), '127.0.0.1');
    t.is(client('127.0.0.1', { forwarded: text }), '127.0.0.1');
  }
});

test('refuses what is neither an address nor a network', (t) => {
  for (const text of [
    '',
    'proxy',
    '10.0.0.0/33',
    '10.0.0.0/-1',
    '10.0.0.0/x',
    '::1/129',
    '10.0.0.0/8/8',
    '*',
    '0x7f.1',
  ]) {
    t.throws(
      () => new TrustedProxies([text]),
      { instanceOf: UsageError, message: /^--trust-proxy: expected an IP/ },
      text,
    );
  }
});
