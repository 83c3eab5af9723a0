import { randomBytes } from 'node:crypto';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RootDatabase } from 'lmdb';
import { errnoCode, HotblobError } from '../../contract/errors.js';
import { corrupt } from './errors.js';
import { damageOf } from './index-check.js';
import { loadLmdb } from './lmdb.js';

const LOCK_NAME = 'writer.mdb';
const OWNER = 'owner';
/** `sun_path` has 108 bytes on Linux and 104 elsewhere. */
const MAX_SOCKET_PATH = 103;
const MAX_ATTEMPTS = 16;

/** Who writes to a directory. */
interface Owner {
  readonly pid: number;
  /** A socket that this process, and nobody else, listens on for as long as it lives. */
  readonly socket: string;
  /** Whether the socket is in the directory itself. */
  readonly isInside: boolean;
}

/**
 * The right to write to a directory, for one process at a time.
 *
 * It ends with its process, however that ends, because the kernel closes a listening socket with it; nothing has to be
 * cleaned up and no process id can be mistaken for another's. Who is the next is settled by comparing and swapping a record
 * in a database of its own, so that of two who find the last owner dead only one can win. Containers that share the
 * directory see each other, as they would not by process ids or abstract sockets.
 */
export class WriterLock {
  readonly #directory: string;
  readonly #server: Server;
  readonly #own: Owner;

  private constructor(directory: string, server: Server, own: Owner) {
    this.#directory = directory;
    this.#server = server;
    this.#own = own;
  }

  /** @throws HotblobError `ERR_HOTBLOB_LOCKED` while another process, or this one, has it */
  static async acquire(directory: string): Promise<WriterLock> {
    const { server, own } = await listen(directory);
    try {
      await withDatabase(directory, async (database) => {
        for (let attempt = 1; ; attempt++) {
          const found = readOwner(database);
          if (found !== undefined && (await isAlive(directory, found))) throw locked(directory, found.pid);
          const isOurs = database.transactionSync(() => {
            if (JSON.stringify(readOwner(database)) !== JSON.stringify(found)) return false;
            database.putSync(OWNER, own);
            return true;
          });
          if (isOurs) {
            if (found?.isInside) await unlink(join(directory, found.socket)).catch(() => {}); // it may be gone
            return;
          }
          if (attempt === MAX_ATTEMPTS) throw locked(directory, found?.pid ?? 0);
        }
      });
    } catch (error) {
      await stop(directory, server, own);
      throw error;
    }
    return new WriterLock(directory, server, own);
  }

  /** Lets others write. */
  async release(): Promise<void> {
    try {
      await withDatabase(this.#directory, async (database) => {
        database.transactionSync(() => {
          if (readOwner(database)?.socket === this.#own.socket) database.removeSync(OWNER);
        });
      });
    } catch {
      // A full disk, or a directory that is gone: who finds the record will find nobody listening.
    }
    await stop(this.#directory, this.#server, this.#own);
  }
}

async function stop(directory: string, server: Server, own: Owner): Promise<void> {
  await new Promise<void>((resolve) => server.close(() => resolve()));
  // Closing removes it too, but not where it was made by way of a descriptor.
  if (own.isInside) await unlink(join(directory, own.socket)).catch(() => {});
}

type LockDatabase = RootDatabase<Owner, string>;

async function withDatabase(directory: string, task: (database: LockDatabase) => Promise<void>): Promise<void> {
  const { open: openDatabase } = loadLmdb();
  const path = join(directory, LOCK_NAME);
  const damage = await damageOf(path, Number.POSITIVE_INFINITY, true);
  if (damage !== undefined) throw corrupt(path, `the record of who writes is damaged (${damage}); remove it`);
  const database: LockDatabase = openDatabase({
    path,
    noSubdir: true,
    overlappingSync: false,
    eventTurnBatching: false,
    encoding: 'json',
  });
  try {
    await task(database);
  } finally {
    await database.close();
  }
}

function readOwner(database: LockDatabase): Owner | undefined {
  return database.get(OWNER);
}

function locked(directory: string, pid: number): HotblobError {
  const message = `process ${pid} writes to '${directory}'; open it with { readOnly: true } beside it`;
  return new HotblobError('ERR_HOTBLOB_LOCKED', message);
}

/** Listens on a socket of its own: in the directory, or where that cannot hold one, with the temporary files. */
async function listen(directory: string): Promise<{ readonly server: Server; readonly own: Owner }> {
  const name = `writer-${randomBytes(8).toString('hex')}.socket`;
  const inside: Owner = { pid: process.pid, socket: name, isInside: true };
  const outside: Owner = {
    pid: process.pid,
    socket: process.platform === 'win32' ? `\\\\.\\pipe\\hotblob-${name}` : join(tmpdir(), `hotblob-${name}`),
    isInside: false,
  };
  const server = createServer((socket) => socket.destroy());
  // It says that the process lives, and keeps nothing alive itself.
  server.unref();
  const bindTo = (own: Owner) => withPath(directory, own, (path) => bind(server, path));
  if (process.platform !== 'win32') {
    try {
      await bindTo(inside);
      return { server, own: inside };
    } catch (error) {
      // A file system without sockets, or a path that is too long for one.
      if (!NO_SOCKETS.has(errnoCode(error) ?? '')) throw error;
    }
  }
  await bindTo(outside);
  return { server, own: outside };
}

const NO_SOCKETS = new Set(['EOPNOTSUPP', 'ENOTSUP', 'EPERM', 'EINVAL', 'ENAMETOOLONG', 'ENOSYS']);

function bind(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    // Exclusive: in a worker of node:cluster the primary process would listen, and live on when the worker is killed.
    server.listen({ path, exclusive: true }, () => {
      server.off('error', reject);
      server.on('error', () => {}); // a connection that could not be accepted
      resolve();
    });
  });
}

/** Whether somebody listens. The kernel answers, even where the process itself is stopped or busy. */
function isAlive(directory: string, owner: Owner): Promise<boolean> {
  return withPath(
    directory,
    owner,
    (path) =>
      new Promise((resolve) => {
        const socket = connect(path);
        socket.once('error', (error) => resolve(!DEAD.has(errnoCode(error) ?? '')));
        socket.once('connect', () => {
          socket.destroy();
          resolve(true);
        });
      }),
  );
}

const DEAD = new Set(['ECONNREFUSED', 'ENOENT', 'ENOTSOCK']);

/** Calls `task` with a path of the socket that is short enough for one. */
async function withPath<T>(directory: string, owner: Owner, task: (path: string) => Promise<T>): Promise<T> {
  if (!owner.isInside) return task(owner.socket);
  const path = join(directory, owner.socket);
  if (Buffer.byteLength(path) <= MAX_SOCKET_PATH || process.platform !== 'linux') return task(path);
  const handle: FileHandle = await open(directory, 'r');
  try {
    return await task(`/proc/self/fd/${handle.fd}/${owner.socket}`);
  } finally {
    await handle.close();
  }
}
