// Servers of the group `processes`: programs that start other processes. They are not pinned, because each process needs a core.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { MICROSECONDS_PER_TICK, stopChild } from './children.js';

/** Program with all processes that it has started. */
export interface ProcessTree {
  readonly label: string;
  /** Returns the URL of an artifact for a protocol. */
  url(protocol: 'h1' | 'h2c', name: string): string;
  /** Resolves to the CPU time of the program and the processes that it has started. */
  cpuMicroseconds(): Promise<number>;
  stop(): Promise<void>;
}

/** Starts `hotblob serve --processes`. */
export async function startHotblob(directory: string, processes: number): Promise<ProcessTree> {
  const options = ['--dir', directory, '--store', 'directory', '--immutable', '--port', '0'];
  const args = ['dist/cli.js', 'serve', ...options, '--processes', String(processes)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  const base = /http:\/\/[^ ]+/.exec(line)?.[0] ?? '';
  return treeOf(`${processes} ${processes === 1 ? 'process' : 'processes'}`, child, (_, name) => `${base}/${name}`);
}

/** Starts nginx, which serves each protocol at a port of its own. */
export async function startNginx(directory: string, work: string, workers: number): Promise<ProcessTree> {
  const ports = { h1: await freePort(), h2c: await freePort() };
  await mkdir(work, { recursive: true });
  const config = join(work, 'nginx.conf');
  await writeFile(
    config,
    `daemon off; worker_processes ${workers}; pid ${work}/pid; error_log ${work}/error.log; user root;
events { worker_connections 1024; }
http {
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000; etag on; default_type application/octet-stream;
  open_file_cache max=100 inactive=10m; http2_max_concurrent_streams 128;
  client_body_temp_path ${work}/body; proxy_temp_path ${work}/proxy; fastcgi_temp_path ${work}/fastcgi;
  uwsgi_temp_path ${work}/uwsgi; scgi_temp_path ${work}/scgi;
  server { listen 127.0.0.1:${ports.h1} reuseport; root ${directory}; }
  server { listen 127.0.0.1:${ports.h2c} http2 reuseport; root ${directory}; }
}
`,
  );
  const child = spawn('nginx', ['-e', `${work}/error.log`, '-c', config], { stdio: 'ignore' });
  for (const port of Object.values(ports)) await untilListening(child, port, join(work, 'error.log'));
  return treeOf(`nginx, ${workers} workers`, child, (protocol, name) => `http://127.0.0.1:${ports[protocol]}/${name}`);
}

function treeOf(label: string, child: ChildProcess, url: ProcessTree['url']): ProcessTree {
  const pid = child.pid ?? 0;
  return {
    label,
    url,
    async cpuMicroseconds() {
      const children = (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).split(' ').filter(Boolean);
      const times = await Promise.all([pid, ...children].map(ticksOf));
      return times.reduce((sum, ticks) => sum + ticks, 0) * MICROSECONDS_PER_TICK;
    },
    async stop() {
      // A master of nginx that is killed leaves its workers behind.
      const exited = once(child, 'exit');
      child.kill('SIGTERM');
      await exited;
      await stopChild(child);
    },
  };
}

/** Fields 14 and 15 of proc_pid_stat(5). */
async function ticksOf(pid: number | string): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8');
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo; // an AddressInfo because the server listens on a port
  server.close();
  return port;
}

async function untilListening(child: ChildProcess, port: number, log: string): Promise<void> {
  while (child.exitCode === null) {
    const socket = connect(port, '127.0.0.1');
    const isOpen = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (isOpen) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`nginx did not start: ${await readFile(log, 'utf8')}`);
}
