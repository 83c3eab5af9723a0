import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { LocalRegistry } from './registry.js';

const run = promisify(execFile);
const PNPM = resolve('node_modules/pnpm/bin/pnpm.cjs');

/** Package managers that the tests install with. */
export const PACKAGE_MANAGERS = ['npm', 'pnpm'] as const;
export type PackageManager = (typeof PACKAGE_MANAGERS)[number];

/** Options of {@link Publication.install}. */
export interface ProjectOptions {
  readonly manager: PackageManager;
  /** Dependencies besides `hotblob`. */
  readonly dependencies?: readonly string[];
  /** Whether optional dependencies are installed. Default: true. */
  readonly optional?: boolean;
}

/** Result of a program that has exited. */
export interface Ended {
  readonly status: number;
  readonly output: string;
}

/** The packed package, and a local registry that serves it. */
export class Publication {
  readonly #directory: string;
  readonly #registry: LocalRegistry;
  /** Path of the tarball created by `npm pack`. */
  readonly tarball: string;
  #projects = 0;

  /** Packs `dist/`. {@link close} removes the tarball and all installed projects. */
  static async create(): Promise<Publication> {
    const directory = await mkdtemp('/var/tmp/hotblob-packed-');
    const args = ['pack', '--ignore-scripts', '--json', '--pack-destination', directory];
    const { stdout } = await run('npm', args, { env: environment(directory) });
    const [{ filename = '' } = {}]: { filename?: string }[] = JSON.parse(stdout);
    const tarball = join(directory, filename);
    const manifest = JSON.parse(await readFile('package.json', 'utf8'));
    return new Publication(directory, tarball, await LocalRegistry.start([{ manifest, file: tarball }]));
  }

  private constructor(directory: string, tarball: string, registry: LocalRegistry) {
    this.#directory = directory;
    this.tarball = tarball;
    this.#registry = registry;
  }

  async close(): Promise<void> {
    this.#registry.close();
    await rm(this.#directory, { recursive: true, force: true });
  }

  /** Creates a project and installs `hotblob` from the local registry, without running install scripts. */
  async install({ manager, dependencies = [], optional = true }: ProjectOptions): Promise<Project> {
    const directory = join(this.#directory, `project-${this.#projects++}`);
    await mkdir(directory);
    const all = Object.fromEntries(['hotblob', ...dependencies].map((name) => [name, '*']));
    await writeFile(join(directory, 'package.json'), JSON.stringify({ private: true, dependencies: all }));
    const registry = `--registry=${this.#registry.url}`;
    const [command, ...args] = {
      npm: ['npm', 'install', '--no-audit', '--no-fund', ...(optional ? [] : ['--omit=optional'])],
      pnpm: [process.execPath, PNPM, 'install', '--reporter=append-only', ...(optional ? [] : ['--no-optional'])],
    }[manager];
    const project = new Project(directory, environment(this.#directory));
    const { status, output } = await project.run(command ?? manager, [...args, registry, '--ignore-scripts']);
    if (status !== 0) throw new Error(`${manager} install ended with ${status}: ${output}`);
    return project;
  }
}

/** A directory with installed packages. */
export class Project {
  readonly directory: string;
  readonly #environment: NodeJS.ProcessEnv;

  constructor(directory: string, environment: NodeJS.ProcessEnv) {
    this.directory = directory;
    this.#environment = environment;
  }

  /** Writes `text` to a file of the project and runs it with Node. */
  async runProgram(name: string, text: string): Promise<Ended> {
    await this.write(name, text);
    return this.run(process.execPath, [name]);
  }

  async write(name: string, text: string): Promise<void> {
    await writeFile(join(this.directory, name), text);
  }

  async run(command: string, args: readonly string[]): Promise<Ended> {
    try {
      const { stdout, stderr } = await run(command, args, { cwd: this.directory, env: this.#environment });
      return { status: 0, output: stdout + stderr };
    } catch (error) {
      const { code, stdout, stderr, message } = Object(error) as { [name: string]: unknown };
      return { status: Number(code), output: `${message}\n${stdout}${stderr}` };
    }
  }

  /** Returns the total size of all installed files in bytes. */
  async installedBytes(): Promise<number> {
    const entries = await readdir(join(this.directory, 'node_modules'), { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile());
    const sizes = await Promise.all(
      files.map(async ({ parentPath, name }) => (await stat(join(parentPath, name))).size),
    );
    return sizes.reduce((sum, size) => sum + size, 0);
  }
}

/** Returns a minimal environment, so that the npm configuration, cache and proxy of the user have no effect. */
function environment(home: string): NodeJS.ProcessEnv {
  const path = process.env['PATH'] ?? '';
  return { PATH: path, HOME: home, CI: 'true', npm_config_update_notifier: 'false' };
}
