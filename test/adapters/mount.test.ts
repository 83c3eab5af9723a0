import test from 'ava';
import { mountPathRemover } from '../../src/adapters/mount.js';

const CASES: [string, string, string][] = [
  ['/', '/key', '/key'],
  ['', '/key?q', '/key?q'],
  ['/cache', '/cache/key', '/key'],
  ['/cache/', '/cache/a/b?q=/x', '/a/b?q=/x'],
  ['/cache', '/cache', '/'],
  ['/cache', '/cache?q', '/?q'],
  ['/cache', '/cache/', '/'],
  ['/cache', '/%63ache/key', '/key'],
  ['/a/b', '/a/b/c', '/c'],
  ['/:team/cache', '/a%2Fb/cache/key', '/key'],
  ['/cache', '//cache/key', '/key'],
  ['/cache', '/cache//key', '//key'],
  ['/cache', '/cache/%2e%2e/key', '/%2e%2e/key'],
];

for (const [mountPath, url, rest] of CASES) {
  test(`mounted at '${mountPath}', the handler sees ${url} as ${rest}`, (t) =>
    t.is(mountPathRemover(mountPath)(url), rest));
}
