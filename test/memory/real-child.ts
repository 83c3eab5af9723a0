/** A process that uses memory as it is told and says what the provider makes of it. Run by real.test.ts in a cgroup. */
import { closeSync, openSync, readSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { systemMemoryPressure } from '../../src/memory/pressure.js';

export type Command = { readonly readFile: string } | { readonly holdMib: number } | 'sample';

const MIB = 2 ** 20;
const CHUNK_MIB = 4;
const pressure = systemMemoryPressure();
const held: Buffer[] = [];

async function run(command: Command): Promise<void> {
  if (command === 'sample') {
    // One sample lasts 200 ms: only the next one can differ.
    await delay(210);
  } else if ('readFile' in command) {
    const buffer = Buffer.alloc(MIB);
    const descriptor = openSync(command.readFile, 'r');
    while (readSync(descriptor, buffer) > 0);
    closeSync(descriptor);
  } else {
    while (held.length * CHUNK_MIB < command.holdMib) held.push(Buffer.alloc(CHUNK_MIB * MIB, 1));
    held.length = Math.ceil(command.holdMib / CHUNK_MIB);
    globalThis.gc?.();
  }
  const { level, sensor, limitBytes, usedBytes, headroomBytes } = pressure;
  process.send?.({ level, sensor, limitBytes, usedBytes, headroomBytes });
}

process.on('message', run);
process.on('disconnect', () => process.exit());
