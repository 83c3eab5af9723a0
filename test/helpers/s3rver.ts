import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';

const PROGRAM = join(dirname(createRequire(import.meta.url).resolve('s3rver/package.json')), 'bin/s3rver.js');
/** Runs a command and kills it at the end of stdin, so that it does not outlive a test process that crashes. */
const RUN_UNTIL_END_OF_STDIN = '"$@" & read -r; kill -KILL $!';
const OBJECT_SUFFIX = '._S3rver_object';

/** The credentials that s3rver accepts. */
export const CREDENTIALS = { accessKeyId: 'S3RVER', secretAccessKey: 'S3RVER' };
export const BUCKET = 'cache';

/**
 * An s3rver process with an empty bucket. s3rver ignores If-Match, responds to a range of an empty object with "bytes 0-0/0",
 * and does not implement AbortMultipartUpload (405). Tests of these features inspect the requests instead.
 */
export class S3rver {
  readonly port: number;
  readonly #directory: string;
  readonly #stop: () => Promise<void>;

  static async start(): Promise<S3rver> {
    const directory = await mkdtemp(join(tmpdir(), 'hotblob-s3rver-'));
    const options = [
      '-d',
      directory,
      '-a',
      '127.0.0.1',
      '-p',
      '0',
      '-s',
      '--no-vhost-buckets',
      '--configure-bucket',
      BUCKET,
    ];
    const child = spawn('bash', ['-c', RUN_UNTIL_END_OF_STDIN, 'bash', process.execPath, PROGRAM, ...options], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    const closed = once(child, 'close');
    const lines = createInterface(child.stdout);
    let port = 0;
    for await (const line of lines) {
      port = Number(/listening on 127\.0\.0\.1:(\d+)$/.exec(line)?.[1] ?? 0);
      if (port !== 0) break;
    }
    if (port === 0) throw new Error(`s3rver did not start: exit code ${await closed}`);
    child.stdout.resume();
    return new S3rver(port, directory, async () => {
      child.stdin.end();
      await closed;
      await rm(directory, { recursive: true, force: true });
    });
  }

  private constructor(port: number, directory: string, stop: () => Promise<void>) {
    this.port = port;
    this.#directory = directory;
    this.#stop = stop;
  }

  /** Ends the process and deletes its objects. */
  stop(): Promise<void> {
    return this.#stop();
  }

  /** Returns the names of the objects with a prefix, read from its directory. */
  async names(prefix: string): Promise<string[]> {
    const bucket = join(this.#directory, BUCKET);
    const entries = await readdir(bucket, { recursive: true });
    return entries
      .filter((entry) => entry.endsWith(OBJECT_SUFFIX) && entry.startsWith(prefix))
      .map((entry) => entry.slice(0, -OBJECT_SUFFIX.length))
      .sort();
  }
}
