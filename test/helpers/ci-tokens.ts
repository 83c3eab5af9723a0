import type { TokenClaims } from './issuer.js';

// Claims in the shape that the CI systems document. The names of repositories and users are made up.

export function githubClaims(claims: TokenClaims): TokenClaims {
  return {
    iss: 'https://token.actions.githubusercontent.com',
    jti: 'example-id',
    sub: 'repo:acme/web:ref:refs/heads/main',
    ref: 'refs/heads/main',
    sha: '714a629c0b401fdce83e847fc9589983fc6f46bc',
    repository: 'acme/web',
    repository_owner: 'acme',
    repository_visibility: 'private',
    repository_id: '74',
    repository_owner_id: '65',
    run_id: '1',
    run_number: '10',
    run_attempt: '2',
    runner_environment: 'github-hosted',
    actor: 'octocat',
    actor_id: '12',
    workflow: 'build',
    head_ref: '',
    base_ref: '',
    event_name: 'push',
    ref_type: 'branch',
    ref_protected: 'true',
    job_workflow_ref: 'acme/web/.github/workflows/build.yml@refs/heads/main',
    ...claims,
  };
}

export function gitlabClaims(claims: TokenClaims): TokenClaims {
  return {
    iss: 'https://gitlab.com',
    jti: '235b3a54-b797-45c7-ae9a-f72d7bc6ef5b',
    sub: 'project_path:acme/web:ref_type:branch:ref:main',
    namespace_id: '72',
    namespace_path: 'acme',
    project_id: '20',
    project_path: 'acme/web',
    job_project_path: 'acme/web',
    user_id: '1',
    user_login: 'alice',
    user_email: 'alice@example.com',
    user_identities: [{ provider: 'github', extern_uid: '2435223452345' }],
    pipeline_id: '574',
    pipeline_source: 'push',
    job_id: '302',
    ref: 'main',
    ref_type: 'branch',
    ref_path: 'refs/heads/main',
    ref_protected: 'true',
    runner_id: 1,
    runner_environment: 'gitlab-hosted',
    sha: '714a629c0b401fdce83e847fc9589983fc6f46bc',
    ...claims,
  };
}

export function buildkiteClaims(claims: TokenClaims): TokenClaims {
  return {
    iss: 'https://agent.buildkite.com',
    sub: 'organization:acme:pipeline:web:ref:refs/heads/main:commit:9f3182061f1e2cca4702c368cbc039b7dc9d4485:step:build',
    organization_slug: 'acme',
    pipeline_slug: 'web',
    build_number: 1,
    build_branch: 'main',
    build_commit: '9f3182061f1e2cca4702c368cbc039b7dc9d4485',
    step_key: null,
    job_id: '0184990a-477b-4fa8-9968-496074483cee',
    agent_id: '0184990a-4782-42b5-afc1-16715b10b8ff',
    build_source: 'webhook',
    runner_environment: 'buildkite-hosted',
    ...claims,
  };
}

const CIRCLE_ORGANIZATION = '9c1f2a04-5d0e-4f6b-8a55-1e2c6f0b7d31';
const CIRCLE_PROJECT = '2b8e7c16-0f4d-4c39-9d1a-7a5e3b6f8c02';

export function circleClaims(claims: TokenClaims): TokenClaims {
  return {
    iss: `https://oidc.circleci.com/org/${CIRCLE_ORGANIZATION}`,
    sub: `org/${CIRCLE_ORGANIZATION}/project/${CIRCLE_PROJECT}/user/0b1d6a52-93b9-4e46-9a0c-6b4c7f6f0a10`,
    'oidc.circleci.com/project-id': CIRCLE_PROJECT,
    'oidc.circleci.com/vcs-origin': 'github.com/acme/web',
    'oidc.circleci.com/vcs-ref': 'refs/heads/main',
    'oidc.circleci.com/context-ids': ['f0a1c3d2-6b7e-4a58-8f0d-3c2b1a090807'],
    'oidc.circleci.com/ssh-rerun': false,
    ...claims,
  };
}
