import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { startPeer, WIRES } from './fixture.js';

const PROGRAM = fileURLToPath(new URL('./idle-process.ts', import.meta.url));

for (const wire of WIRES) {
  test(`${wire}: an idle connection keeps no process alive`, async (t) => {
    const peer = await startPeer(t, wire, (_request, response) => {
      response.setHeader('content-length', 1);
      // In two steps, so that there is something to wait for.
      setImmediate(() => response.end('x'));
    });
    const child = spawn(process.execPath, ['--import=tsx', PROGRAM, peer.url, JSON.stringify(peer.options)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.teardown(() => child.kill('SIGKILL'));
    const [output, [code]] = await Promise.all([buffer(child.stdout), once(child, 'close')]);
    t.is(output.toString(), 'x');
    t.is(code, 0);
  });
}
