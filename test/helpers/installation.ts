import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { LocalRegistry } from './registry.js';

const run = promisify(execFile);
const PNPM = resolve('node_modules/pnpm/bin/pnpm.cjs');

/** Programs that take dependencies from a manifest. */
export const PACKAGE_MANAGERS = ['npm', 'pnpm'] as const;
export type PackageManager = (typeof PACKAGE_MANAGERS)[number];

/** What is installed, and how. */
export interface ProjectOptions {
  readonly manager: PackageManager;
  /** Dependencies besides `hotblob`. */
  readonly dependencies?: readonly string[];
  /** Whether optional dependencies are installed. Default: true. */
  readonly optional?: boolean;
}

/** What a program has printed. */
export interface Ended {
  readonly status: number;
  readonly output: string;
}

/** This package as it would be published, and a registry that has it. */
export class Publication {
  readonly #directory: string;
  readonly #registry: LocalRegistry;
  /** The file that `npm pack` has made. */
  readonly tarball: string;
  #projects = 0;

  /** Packs what has been built. {@link close} removes it, and all that has been installed. */
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

  /** An empty project that installs `hotblob` from the registry, with scripts ignored. */
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

/** A folder in which packages are installed. */
export class Project {
  readonly directory: string;
  readonly #environment: NodeJS.ProcessEnv;

  constructor(directory: string, environment: NodeJS.ProcessEnv) {
    this.directory = directory;
    this.#environment = environment;
  }

  /** Writes `text` into a file of the project and runs it by Node. */
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

  /** The sizes of all files that are installed, in bytes. */
  async installedBytes(): Promise<number> {
    const entries = await readdir(join(this.directory, 'node_modules'), { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile());
    const sizes = await Promise.all(
      files.map(async ({ parentPath, name }) => (await stat(join(parentPath, name))).size),
    );
    return sizes.reduce((sum, size) => sum + size, 0);
  }
}

/** Nothing of who runs the tests: no configuration, no cache, no proxy, none of npm's variables for scripts. */
function environment(home: string): NodeJS.ProcessEnv {
  const path = process.env['PATH'] ?? '';
  return { PATH: path, HOME: home, CI: 'true', npm_config_update_notifier: 'false' };
}
