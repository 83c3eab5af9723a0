import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import http, { type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename } from 'node:path';
import { create } from 'tar';

interface Manifest {
  readonly name: string;
  readonly version: string;
}

interface Lock {
  readonly packages: Readonly<Record<string, Omit<Manifest, 'name'>>>;
}

const lock: Lock = JSON.parse(await readFile('package-lock.json', 'utf8'));

/**
 * Local npm registry that serves the packages of this project's node_modules, at the locked versions, and packed tarballs.
 * Package managers can install from it without a network. The packages include the native code compiled here.
 */
export class LocalRegistry {
  readonly #server = http.createServer((request, response) => {
    this.#answer(decodeURIComponent(request.url ?? '/').slice(1), response).catch((error: unknown) => {
      response.destroy(error instanceof Error ? error : undefined);
    });
  });
  readonly #packed: ReadonlyMap<string, { readonly manifest: Manifest; readonly file: string }>;
  readonly #tarballs = new Map<string, Promise<Buffer>>();

  /** @param packed manifests with the tarballs that `npm pack` created */
  static async start(
    packed: readonly { readonly manifest: Manifest; readonly file: string }[],
  ): Promise<LocalRegistry> {
    const registry = new LocalRegistry(packed);
    await once(registry.#server.listen(0, '127.0.0.1'), 'listening');
    return registry;
  }

  private constructor(packed: readonly { readonly manifest: Manifest; readonly file: string }[]) {
    this.#packed = new Map(packed.map((each) => [each.manifest.name, each]));
  }

  get url(): string {
    const { port } = this.#server.address() as AddressInfo; // the server listens on a port
    return `http://127.0.0.1:${port}/`;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  /** Responds to `name` with the metadata of a package, and to `name/-/file.tgz` with its tarball. */
  async #answer(path: string, response: ServerResponse): Promise<void> {
    const [name = '', file] = path.split('/-/');
    const directory = `node_modules/${name}`;
    const { manifest, file: packed } = this.#packed.get(name) ?? {};
    const locked = manifest ?? lock.packages[directory];
    if (locked === undefined) {
      response.writeHead(404).end();
      return;
    }
    if (file !== undefined) {
      response.end(await this.#tarball(name, packed));
      return;
    }
    const isInstalled = manifest !== undefined || existsSync(directory);
    // Packages for other platforms are not installed. The lock file has their metadata, and no client requests the tarball.
    const metadata =
      manifest ?? (isInstalled ? JSON.parse(await readFile(`${directory}/package.json`, 'utf8')) : locked);
    const tarball = `${this.url}${name}/-/${basename(name)}-${locked.version}.tgz`;
    const integrity = isInstalled ? integrityOf(await this.#tarball(name, packed)) : undefined;
    response.setHeader('content-type', 'application/json').end(
      JSON.stringify({
        name,
        'dist-tags': { latest: locked.version },
        versions: { [locked.version]: { ...metadata, name, dist: { tarball, integrity } } },
      }),
    );
  }

  #tarball(name: string, packed: string | undefined): Promise<Buffer> {
    let tarball = this.#tarballs.get(name);
    if (tarball === undefined) {
      tarball = packed === undefined ? pack(`node_modules/${name}`) : readFile(packed);
      this.#tarballs.set(name, tarball);
    }
    return tarball;
  }
}

async function pack(directory: string): Promise<Buffer> {
  const filter = (path: string): boolean => !path.startsWith('./node_modules');
  const archive = create({ cwd: directory, gzip: { level: 1 }, prefix: 'package', filter }, ['.']);
  const chunks: Buffer[] = [];
  for await (const chunk of archive) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function integrityOf(tarball: Buffer): string {
  return `sha512-${createHash('sha512').update(tarball).digest('base64')}`;
}
