import { randomBytes } from 'node:crypto';
import { chmod, type FileHandle, open, stat, unlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { RootDatabase } from 'lmdb';
import { errnoCode, HotblobError } from '../../contract/errors.js';
import { type Permissions, PRIVATE } from '../../util/permissions.js';
import { freeBytesOf, MIN_FREE_BYTES } from './commit-space.js';
import { corruptError } from './errors.js';
import { findDamage } from './index-check.js';
import { loadLmdb, withMode } from './lmdb.js';

/** Name of the lock of a segment store: the file `writer.mdb`. */
const LOCK_NAME = 'writer';
const OWNER_KEY = 'owner';
/**
 * Maximum length of a socket path. `sun_path` has 108 bytes on Linux and 104 on macOS and the BSDs, including the
 * terminating null byte.
 */
const MAX_SOCKET_PATH_BYTES = 103;
const MAX_ATTEMPTS = 16;
/** Error codes of a file system that does not support sockets, and of a path that is too long for a socket. */
const SOCKETS_UNSUPPORTED = new Set(['EOPNOTSUPP', 'ENOTSUP', 'EPERM', 'EINVAL', 'ENAMETOOLONG', 'ENOSYS']);
/** Error codes of a socket on which no process listens. */
const NOT_LISTENING = new Set(['ECONNREFUSED', 'ENOENT', 'ENOTSOCK']);

/** Process that may write to a directory. The lock file stores it as JSON. */
interface Owner {
  readonly pid: number;
  /** Name or path of the socket on which the process listens until it ends. */
  readonly socket: string;
  /** Whether `socket` is a name in the directory of the store. */
  readonly isInside: boolean;
}

/** Receives a connection of another process to the owner of a lock. The connection may be half-open. */
export type ConnectionListener = (socket: Socket) => void;
/** Connects to the owner of a lock. Resolves to undefined if it has ended, or if it cannot accept the connection. */
export type Connect = () => Promise<Socket | undefined>;

export interface WriterLockOptions {
  /** Name of the lock, without an extension. Default: `writer`. */
  readonly name?: string;
  /** Receives the connections of other processes to the socket of the owner. Default: they are closed. */
  readonly onConnection?: ConnectionListener;
}

/**
 * Lock that gives one process the exclusive right to write to a directory.
 *
 * The owner listens on a socket. When the process ends, for whatever reason, the kernel closes the socket. Therefore,
 * no cleanup is needed, and a reused process id cannot be mistaken for the owner. The record of the owner is in an LMDB
 * file and is replaced by compare-and-swap. If several processes find that the owner has ended, only one of them
 * becomes the new owner.
 *
 * The lock also works between containers that share the directory. Process ids and abstract sockets would not, because
 * they are local to a namespace (namespaces(7)).
 */
export class WriterLock {
  readonly #directory: string;
  readonly #name: string;
  readonly #permissions: Permissions;
  readonly #server: Server;
  readonly #owner: Owner;

  private constructor(directory: string, name: string, permissions: Permissions, server: Server, owner: Owner) {
    this.#directory = directory;
    this.#name = name;
    this.#permissions = permissions;
    this.#server = server;
    this.#owner = owner;
  }

  /** @throws HotblobError `ERR_HOTBLOB_LOCKED` if another process, or this one, holds the lock */
  static async acquire(
    directory: string,
    permissions: Permissions,
    { name = LOCK_NAME, onConnection = (socket) => void socket.destroy() }: WriterLockOptions = {},
  ): Promise<WriterLock> {
    const { server, owner } = await listen(directory, name, permissions, onConnection);
    try {
      await withDatabase(directory, name, permissions, async (database) => {
        for (let attempt = 1; ; attempt++) {
          const current = readOwner(database);
          if (current !== undefined && (await isListening(directory, current)))
            throw lockedError(directory, current.pid);
          const isAcquired = database.transactionSync(() => {
            if (JSON.stringify(readOwner(database)) !== JSON.stringify(current)) return false;
            database.putSync(OWNER_KEY, owner);
            return true;
          });
          if (isAcquired) {
            if (current?.isInside) await unlink(join(directory, current.socket)).catch(() => {}); // may not exist
            return;
          }
          if (attempt === MAX_ATTEMPTS) throw lockedError(directory, current?.pid ?? 0);
        }
      });
    } catch (error) {
      await stopListening(directory, server, owner);
      throw error;
    }
    return new WriterLock(directory, name, permissions, server, owner);
  }

  /**
   * Checks that the lock could be acquired. Changes nothing.
   *
   * @throws HotblobError `ERR_HOTBLOB_LOCKED` if another process, or this one, holds the lock
   */
  static async assertFree(directory: string, name = LOCK_NAME): Promise<void> {
    const owner = await findOwner(directory, name);
    if (owner !== undefined && (await isListening(directory, owner))) throw lockedError(directory, owner.pid);
  }

  /** Returns how to connect to the process that holds the lock, or undefined if there is no record of one. */
  static async findConnect(directory: string, name: string): Promise<Connect | undefined> {
    const owner = await findOwner(directory, name);
    return owner && (() => withSocketPath(directory, owner, connectTo));
  }

  async release(): Promise<void> {
    // If the disk is full or the directory was removed, the record remains: its socket no longer accepts connections.
    await this.#removeRecord().catch(() => {});
    await stopListening(this.#directory, this.#server, this.#owner);
  }

  async #removeRecord(): Promise<void> {
    // LMDB writes to stderr itself when the disk is full.
    if ((await freeBytesOf(this.#directory)) < MIN_FREE_BYTES) return;
    await withDatabase(this.#directory, this.#name, this.#permissions, async (database) => {
      database.transactionSync(() => {
        if (readOwner(database)?.socket === this.#owner.socket) database.removeSync(OWNER_KEY);
      });
    });
  }
}

async function stopListening(directory: string, server: Server, owner: Owner): Promise<void> {
  await new Promise<void>((resolve) => server.close(() => resolve()));
  // Node unlinks the path to which the socket was bound. That path may have led through a descriptor that is closed now
  // (see withSocketPath).
  if (owner.isInside) await unlink(join(directory, owner.socket)).catch(() => {});
}

type LockDatabase = RootDatabase<Owner, string>;

/** Returns the recorded owner of a lock. It may have ended. Changes nothing. */
async function findOwner(directory: string, name: string): Promise<Owner | undefined> {
  // A process that has just created the file has not written to it yet. LMDB cannot open an empty file for reading only.
  const { size } = await stat(join(directory, `${name}.mdb`)).catch(() => ({ size: 0 }));
  if (size === 0) return undefined;
  let owner: Owner | undefined;
  const read = async (database: LockDatabase) => {
    owner = readOwner(database);
  };
  await withDatabase(directory, name, PRIVATE, read, true);
  return owner;
}

function connectTo(path: string): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ path, allowHalfOpen: true });
    const onError = (): void => resolve(undefined);
    socket.once('error', onError);
    socket.once('connect', () => {
      socket.off('error', onError);
      resolve(socket);
    });
  });
}

async function withDatabase(
  directory: string,
  name: string,
  permissions: Permissions,
  task: (database: LockDatabase) => Promise<void>,
  readOnly = false,
): Promise<void> {
  const { open: openDatabase } = loadLmdb();
  const path = join(directory, `${name}.mdb`);
  const damage = await findDamage(path, Number.POSITIVE_INFINITY, true);
  if (damage !== undefined) throw corruptError(path, `the writer lock is corrupt (${damage}); remove the file`);
  const database: LockDatabase = openDatabase({
    ...withMode(permissions),
    path,
    noSubdir: true,
    readOnly,
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
  return database.get(OWNER_KEY);
}

function lockedError(directory: string, pid: number): HotblobError {
  const message = `process ${pid} writes to '${directory}': close it first, or open the store with { readOnly: true }`;
  return new HotblobError('ERR_HOTBLOB_LOCKED', message);
}

/** Listens on a new socket: in the directory if its file system supports sockets, otherwise in the temporary directory. */
async function listen(
  directory: string,
  name: string,
  permissions: Permissions,
  onConnection: ConnectionListener,
): Promise<{ readonly server: Server; readonly owner: Owner }> {
  const file = `${name}-${randomBytes(8).toString('hex')}.socket`;
  const inside: Owner = { pid: process.pid, socket: file, isInside: true };
  const outside: Owner = {
    pid: process.pid,
    socket: process.platform === 'win32' ? `\\\\.\\pipe\\hotblob-${file}` : join(tmpdir(), `hotblob-${file}`),
    isInside: false,
  };
  const server = createServer({ allowHalfOpen: true }, onConnection);
  // The socket must not keep the process alive.
  server.unref();
  const bindTo = (owner: Owner) => withSocketPath(directory, owner, (path) => bind(server, path, permissions));
  if (process.platform !== 'win32') {
    try {
      await bindTo(inside);
      return { server, owner: inside };
    } catch (error) {
      if (!SOCKETS_UNSUPPORTED.has(errnoCode(error) ?? '')) throw error;
    }
  }
  await bindTo(outside);
  return { server, owner: outside };
}

async function bind(server: Server, path: string, { file }: Permissions): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    // `exclusive` is set because in a node:cluster worker, the primary process would otherwise listen, even after the
    // worker was killed.
    server.listen({ path, exclusive: true }, () => {
      server.off('error', reject);
      server.on('error', () => {}); // a connection could not be accepted
      resolve();
    });
  });
  if (process.platform === 'win32') return;
  try {
    // bind(2) has no mode: the socket has all bits that the umask allows.
    await chmod(path, (await stat(path)).mode & file);
  } catch {
    // The file system has no modes. A connection only tells that the process lives.
  }
}

/**
 * Returns whether the owner still listens on its socket. The kernel accepts connections even if the process is stopped
 * or busy.
 */
function isListening(directory: string, owner: Owner): Promise<boolean> {
  return withSocketPath(
    directory,
    owner,
    (path) =>
      new Promise((resolve) => {
        const socket = connect(path);
        socket.once('error', (error) => resolve(!NOT_LISTENING.has(errnoCode(error) ?? '')));
        socket.once('connect', () => {
          socket.destroy();
          resolve(true);
        });
      }),
  );
}

/**
 * Calls `task` with a path of the socket. On Linux, a path that is too long for a socket is replaced by a path through
 * a descriptor of the directory.
 */
async function withSocketPath<T>(directory: string, owner: Owner, task: (path: string) => Promise<T>): Promise<T> {
  if (!owner.isInside) return task(owner.socket);
  const path = join(directory, owner.socket);
  if (Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES || process.platform !== 'linux') return task(path);
  const handle: FileHandle = await open(directory, 'r');
  try {
    return await task(`/proc/self/fd/${handle.fd}/${owner.socket}`);
  } finally {
    await handle.close();
  }
}
