import { spawnSync } from 'node:child_process';
import type { ExecutionContext } from 'ava';

/** The Python of Debian, because another Python in PATH would not find the package python3-h2. */
export const PYTHON = '/usr/bin/python3';

/** Absolute, because /usr/sbin is not in the PATH of unprivileged users. */
export const NGINX = '/usr/sbin/nginx';

/** Path of the Debian package, because Playwright looks for its own browsers. */
export const CHROMIUM = '/usr/bin/chromium';

/** Creates and removes a cgroup in the hierarchy that `memoryGroup` uses. Fails if it has no memory controller. */
const MAKE_CGROUP = [
  'parent=/sys/fs/cgroup/memory limit=memory.limit_in_bytes',
  'test -e $parent/$limit || parent=/sys/fs/cgroup limit=memory.max',
  'group=$parent/hotblob-probe-$$',
  'mkdir $group || exit 1',
  'test -w $group/$limit',
  'status=$?',
  'rmdir $group',
  'exit $status',
].join('\n');

const MOUNT_NAMESPACE = process.getuid?.() === 0 ? '-m' : '-rm';

/** Programs that are not part of Node, each with a command that runs if it is installed and the Debian package to install. */
const PEERS = {
  curl: { probe: ['curl', '--version'], debianPackage: 'curl' },
  nghttp: { probe: ['nghttp', '--version'], debianPackage: 'nghttp2-client' },
  nginx: { probe: [NGINX, '-v'], debianPackage: 'nginx-light' },
  h2load: { probe: ['h2load', '--version'], debianPackage: 'nghttp2-client' },
  cc: { probe: ['cc', '--version'], debianPackage: 'gcc' },
  ccache: { probe: ['ccache', '--version'], debianPackage: 'ccache' },
  gradle: { probe: ['gradle', '--version'], debianPackage: 'gradle' },
  bindfs: { probe: ['bindfs', '--version'], debianPackage: 'bindfs' },
  chromium: { probe: [CHROMIUM, '--version'], debianPackage: 'chromium' },
  prometheus: { probe: ['promtool', '--version'], debianPackage: 'prometheus' },
  wrk: { probe: ['wrk', '--version'], debianPackage: 'wrk' },
  systemd: { probe: ['systemd-analyze', '--version'], debianPackage: 'systemd' },
  'python3-h2': { probe: [PYTHON, '-c', 'import h2'], debianPackage: 'python3-h2' },
} as const;

/** Privileges of the user who runs the tests, each with a command that succeeds only with them. */
const RIGHTS = {
  root: { probe: ['sh', '-c', 'test "$(id -u)" = 0'], notice: 'needs root' },
  /** Mounting a file system in a new mount namespace. */
  mount: { probe: ['unshare', MOUNT_NAMESPACE, 'true'], notice: 'needs root or user namespaces' },
  /** Creating a cgroup with a memory limit. */
  cgroup: { probe: ['sh', '-c', MAKE_CGROUP], notice: 'needs a writable cgroup hierarchy with the memory controller' },
} as const;

export type Requirement = keyof typeof PEERS | keyof typeof RIGHTS;

const notices = new Map<Requirement, string | undefined>();

/** Returns a notice that says how to meet the requirement, or `undefined` if it is met. */
function missing(requirement: Requirement): string | undefined {
  if (!notices.has(requirement)) notices.set(requirement, probe(requirement));
  return notices.get(requirement);
}

function probe(requirement: Requirement): string | undefined {
  if (requirement in RIGHTS) {
    const { probe, notice } = RIGHTS[requirement as keyof typeof RIGHTS];
    return runs(probe, true) ? undefined : notice;
  }
  const { probe, debianPackage } = PEERS[requirement as keyof typeof PEERS];
  return runs(probe, false) ? undefined : `needs ${requirement}: apt-get install ${debianPackage}`;
}

function runs([command = '', ...args]: readonly string[], mustSucceed: boolean): boolean {
  const { error, signal, status, stderr } = spawnSync(command, args, { encoding: 'utf8', timeout: 60_000 });
  if (error !== undefined || signal !== null) return false;
  // `wrk --version` exits with 1.
  return mustSucceed ? status === 0 : !stderr.includes('ModuleNotFoundError');
}

type Run = (t: ExecutionContext) => unknown;
type Declare = (title: string, run: Run) => void;

/**
 * Returns a function that declares tests with requirements. If a requirement is not met, the tests are skipped, and the title
 * contains the notice. If CI=true, they fail instead.
 *
 * @param declare `test` or `test.serial`
 */
export function testWith(
  declare: Declare & { readonly skip: Declare },
  ...requirements: readonly Requirement[]
): Declare {
  const notice = requirements.flatMap((each) => missing(each) ?? []).join('; ');
  if (notice === '') return declare;
  if (process.env['CI'] === 'true') return (title) => declare(title, (t) => t.fail(notice));
  return (title, run) => declare.skip(`${title} (${notice})`, run);
}
