import { closeSync, openSync } from 'node:fs';
import { isatty } from 'node:tty';
import { isChild } from '../../cluster/run-processes.js';
import type { Command } from '../command.js';
import { variableOf } from '../environment.js';
import { EventLog } from './event-log.js';
import { formatConfiguration } from './print-config.js';
import { PROTOCOL_NAMES } from './protocol-names.js';
import { type RunningServer, serve, writeLine } from './serve.js';
import { parseServeCommand, readServeArguments } from './serve-arguments.js';
import { SERVE_OPTIONS } from './serve-options.js';
import { serveInProcesses } from './serve-processes.js';

/** Names of the environment variables, in lines of at most 100 characters. */
const VARIABLES = wrap(Object.keys(SERVE_OPTIONS).map(variableOf), 100);

const HELP = `Usage: hotblob serve [options]

Serves a store over HTTP/1.1 and HTTP/2 on one port. On SIGINT or SIGTERM, requests in flight may complete.
The same signal a second time exits immediately. On SIGHUP, the files of --tokens, of --oidc and of TLS
are read again; with --processes, the processes are replaced one by one, without a failed request.

Options:
  --dir DIR            Directory of the artifacts, created if missing (default: ./artifacts)
  --store KIND         directory or segments (default: the kind found in DIR)
  --upstream URL       Cache to fetch misses from and to send uploads to (default: none)
  --upstream-mode MODE Uploads that the upstream gets: read: none; write: each, before it is acknowledged;
                       write-back: each, later, from a queue in DIR (default: write)
  --protocol NAMES     Protocols to serve, separated by commas (default: all)
  --tokens FILE        Tokens and their access levels (default: none, no authentication)
  --oidc FILE          Rules for tokens of CI systems (OpenID Connect), as JSON; requires jose (default: none)
  --anonymous LEVEL    Access without a valid token: none, read or write; requires --tokens or --oidc
                       (default: none)
  --port PORT          Port to listen on; 0 selects a free port (default: 8080)
  --host HOST          Address to listen on (default: 127.0.0.1)
  --allow-host NAME    Answer requests for this host name too, such as cache.example.com, '*.example.com' or
                       '*'; repeatable (default: all names. Exception: on a connection to a loopback address,
                       a request without a token of --tokens must be for localhost, 127.0.0.1 or [::1])
  --writable           Accept uploads without --tokens or --oidc if HOST is not a loopback address
  --read-only          Accept no uploads and deletions, and do not change DIR
  --write-once         Keep the first upload of each key; artifacts cannot be replaced or deleted
  --immutable          Map files: asserts that files in DIR are never truncated or rewritten in place
  --verify-reads       Compare each artifact with its checksum before sending it; requires segments
  --group-access       Let the group read and write what is created in DIR (default: only this user)
  --max-size BYTES     Evict the least recently used artifacts above this size (default: no limit)
  --retain RULE        Limits for a part of the artifacts, such as 'scope=pr/* max-age=7d max-size=2GiB';
                       repeatable, the first rule that matches applies (default: none)
  --max-upload BYTES   Largest upload that is accepted (default: 2GiB)
  --spool-dir DIR      Directory for downloads from the upstream that are in flight (default: the temporary
                       directory of the system; if it cannot be written, the directory of --dir)
  --max-spool BYTES    Space in this directory (default: 8GiB)
  --processes N        Processes that serve the port together; max: one for each processor (default: 1)
  --max-connections N  Open connections; a further one closes an idle one (default: from ulimit -n)
  --keep-alive-timeout SECONDS
                       Time after which an idle connection is closed; set it longer than the idle timeout of
                       a load balancer in front of the server (default: 75 for HTTP/1.1, 300 for HTTP/2)
  --shutdown-timeout SECONDS
                       Time for requests in flight to complete after SIGINT or SIGTERM (default: 30)
  --access-log FILE    Write a line about each request to FILE; - means stdout (default: none)
  --access-log-format FORMAT
                       json or combined (default: json)
  --trust-proxy ADDRESS
                       Take the address of the client from Forwarded or X-Forwarded-For of this proxy: an IP
                       address, a network such as 10.0.0.0/8, or loopback; repeatable (default: none)
  --tls-cert FILE      Certificate chain in PEM format: serves HTTPS; requires --tls-key
  --tls-key FILE       Private key in PEM format; requires --tls-cert
  --tls-client-ca FILE Authorities in PEM format that issue certificates of clients, for rules of --oidc;
                       requires --tls-cert
  --print-config       Print the value of each option and where it comes from, and exit

A directory store keeps one file per artifact, at /<path below DIR>. A segment store appends artifacts to a
few large files and requires lmdb. A new or empty DIR becomes a segment store if lmdb is installed, unless
--immutable is given.

The parts of unfinished module uploads of Tuist take up to a quarter of --max-size: in a directory store as
a part of it, in a segment store in addition.

Protocols: ${PROTOCOL_NAMES.join(', ')}.

A rule of --retain has words separated by blanks: scope=, namespace= and protocol= select artifacts, in which
* stands for any text. max-age= is the time since the last use, such as 7d, 12h or 30m; max-size= the size of
all artifacts of the rule together (docs/stores.md, Retention).

Each line of the token file is 'read TOKEN' or 'write TOKEN', optionally followed by protocols=a,b,
namespaces=a,b, scope=a, reads=a,b, write-once and name=a (docs/access.md). Replace the file with mv: a last
line without a newline is not used. The file of --oidc has rules in JSON (docs/identity.md). Changes of both
files take effect within a second. The files of TLS are reloaded within 5 seconds, and open connections stay
open.

The credentials for the upstream are user and password in URL, or a bearer token in the environment variable
HOTBLOB_UPSTREAM_TOKEN. BYTES may have the suffix K, M, G, T or KiB, MiB, GiB, TiB (powers of 1024).

Each option has an environment variable: HOTBLOB_ and its name in upper case, with _ for -. Options on the
command line win. true or false sets an option without a value; commas separate the values of a repeatable
one. HOTBLOB_TOKENS may contain the lines of a token file instead of its path. The variables are:

${VARIABLES}

Exit code: 0 after a shutdown by a signal, 1 if the server cannot start, 2 if the arguments are invalid.
`;

/** @param version version of this package */
export function serveCommand(version: string): Command {
  return {
    name: 'serve',
    summary: 'Serve a build cache over HTTP/1.1 and HTTP/2',
    help: HELP,
    async run(args) {
      const { values, printConfig } = parseServeCommand(args);
      const serveArguments = readServeArguments(version, values);
      const { options, warnings } = serveArguments;
      // The processes of a server have the same arguments, and are started by a parent.
      if (isChild()) return void (await serveInProcesses(options, new EventLog(writeLine), writeLine));
      for (const warning of warnings) writeLine(warning);
      if (printConfig) process.stdout.write(formatConfiguration(serveArguments, HELP));
      else {
        await runServer((log) =>
          options.processes === 1 ? serve(options) : serveInProcesses(options, log, writeLine),
        );
      }
    },
  };
}

async function runServer(start: (log: EventLog) => Promise<RunningServer>): Promise<void> {
  let server: RunningServer | undefined;
  let isStopping = false;
  const stop = () => {
    // Before the port is open, there is no request to complete, and a store recovers from an exit at any time.
    if (server === undefined) process.exit(0);
    if (isStopping) {
      // A process that is stopped or blocked does not notice that its parent has ended, and would keep the port.
      server.kill?.();
      process.exit(1);
    }
    isStopping = true;
    server.close().then(
      () => process.exit(0),
      (error: unknown) => {
        process.stderr.write(`hotblob: ${error}\n`);
        process.exit(1);
      },
    );
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stop);
  process.on('SIGHUP', () => {
    if (isTerminalClosed()) stop();
    else void server?.reload();
  });
  // Otherwise, Node would open a port for a debugger. The access log has a listener of its own.
  process.on('SIGUSR1', () => {});
  // A server continues if its output has no reader.
  process.stdout.removeAllListeners('error').on('error', () => {});
  const log = new EventLog(writeLine);
  log.open();
  server = await start(log);
  process.stdout.write(`${server.description}\n`);
}

const wasStartedOnTerminal = [0, 1, 2].some((descriptor) => isatty(descriptor));

/** SIGHUP also means that the terminal of a process has been closed. The process then has no terminal that it could open. */
function isTerminalClosed(): boolean {
  if (!wasStartedOnTerminal) return false;
  try {
    closeSync(openSync('/dev/tty', 'r'));
    return false;
  } catch {
    return true;
  }
}

function wrap(names: readonly string[], width: number): string {
  const lines: string[] = [];
  for (const name of names) {
    const last = lines.at(-1);
    if (last === undefined || last.length + name.length + 1 > width) lines.push(`  ${name}`);
    else lines[lines.length - 1] = `${last} ${name}`;
  }
  return lines.join('\n');
}
