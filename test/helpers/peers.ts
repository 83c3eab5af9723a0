import { spawnSync } from 'node:child_process';
import type { ExecutionContext } from 'ava';

/** Debian's own: what python3-h2 installs is not seen by another Python that comes first in the path. */
export const PYTHON = '/usr/bin/python3';

/** Where Debian puts it: users who are not root do not have that in their path. */
export const NGINX = '/usr/sbin/nginx';

/** Clients and servers that are no part of Node, each with the Debian package that brings it. `.ci/run` installs them. */
const PEERS = {
  curl: { debianPackage: 'curl', probe: ['curl', '--version'] },
  nghttp: { debianPackage: 'nghttp2-client', probe: ['nghttp', '--version'] },
  nginx: { debianPackage: 'nginx-light', probe: [NGINX, '-v'] },
  h2load: { debianPackage: 'nghttp2-client', probe: ['h2load', '--version'] },
  ccache: { debianPackage: 'ccache', probe: ['ccache', '--version'] },
  gradle: { debianPackage: 'gradle', probe: ['gradle', '--version'] },
  bindfs: { debianPackage: 'bindfs', probe: ['bindfs', '--version'] },
  chromium: { debianPackage: 'chromium', probe: ['/usr/bin/chromium', '--version'] },
  prometheus: { debianPackage: 'prometheus', probe: ['promtool', '--version'] },
  wrk: { debianPackage: 'wrk', probe: ['wrk', '--version'] },
  'python3-h2': { debianPackage: 'python3-h2', probe: [PYTHON, '-c', 'import h2'] },
} as const;

export type PeerName = keyof typeof PEERS;

const found = new Map<PeerName, boolean>();

/** Whether this machine has it. */
export function hasPeer(name: PeerName): boolean {
  let isThere = found.get(name);
  if (isThere === undefined) {
    const [command, ...rest] = PEERS[name].probe;
    const { error, signal, stderr } = spawnSync(command, rest, { encoding: 'utf8', timeout: 20_000 });
    // What a version is printed with differs: wrk ends with 1.
    isThere = error === undefined && signal === null && !stderr.includes('ModuleNotFoundError');
    found.set(name, isThere);
  }
  return isThere;
}

/** Whether a test can go on that needs `name`. If not: it fails where CI=true, and elsewhere says what to install. */
export function needsPeer(t: ExecutionContext, name: PeerName): boolean {
  if (hasPeer(name)) return true;
  const notice = `needs ${name}: apt-get install ${PEERS[name].debianPackage}`;
  t.not(process.env['CI'], 'true', notice);
  t.log(`skipped: ${notice}`);
  t.pass();
  return false;
}
