import { UsageError } from '../errors.ts'

/** The services that `--set SERVICE.KEY=VALUE` reaches; `postgres` is postgresql.conf. */
export type SettingTarget = 'gateway' | 'pooler' | 'orch' | 'pgctld' | 'postgres'

/** One `--set`, taken apart. `target` is a service or the id of one member. */
export interface Setting {
  readonly target: string
  readonly key: string
  readonly value: string
}

/** Somebody that settings apply to. */
export interface SettingSubject {
  readonly service: string
  readonly id: string
}

const PAIR = /^([^.=]+)\.([^=]+)=(.*)$/s
const TARGETS: readonly SettingTarget[] = ['gateway', 'pooler', 'orch', 'pgctld', 'postgres']

/** What the cluster itself decides for its members: changing it here would take it apart. */
const MANAGED = new Set([
  'id',
  'cell',
  'topology',
  'secrets_dir',
  'socket_dir',
  'data_dir',
  'state_dir',
  'bin_dir',
  'run_as',
  'pgctld',
  'database',
  'shard',
  'watch',
])

/**
 * Takes the texts of `--set` apart.
 * @throws UsageError naming each that is no pair, goes nowhere or is the cluster's to decide.
 */
export function parseSettings(texts: readonly string[], ids: Iterable<string>): Setting[] {
  const known = new Set<string>([...TARGETS, ...ids])
  const problems: string[] = []
  const settings = texts.flatMap((text) => {
    const [, target = '', key = '', value = ''] = PAIR.exec(text) ?? []
    if (key === '') problems.push(`--set ${text}: not SERVICE.KEY=VALUE`)
    else if (!known.has(target)) {
      problems.push(`--set ${text}: no service or member ${target} (${[...known].join(', ')})`)
    } else if (target !== 'postgres' && MANAGED.has(key)) {
      problems.push(`--set ${text}: the cluster decides ${key} itself`)
    } else return [{ target, key, value }]
    return []
  })
  if (problems.length > 0) throw new UsageError(problems)
  return settings
}

/** Those for one member, those of its service first, so that its own win. */
export function settingsFor(settings: readonly Setting[], subject: SettingSubject): Setting[] {
  const ofService = settings.filter(({ target }) => target === subject.service)
  return [...ofService, ...settings.filter(({ target }) => target === subject.id)]
}

/** The value that a member gets for `key`, if any. */
export function settingOf(
  settings: readonly Setting[],
  subject: SettingSubject,
  key: string,
): string | undefined {
  return settingsFor(settings, subject).findLast((setting) => setting.key === key)?.value
}
