import { loadConfig } from '../../shared/config/load.ts'
import { ConfigError } from '../../shared/config/errors.ts'
import type { Fields } from '../../shared/config/fields.ts'
import { UsageError } from '../errors.ts'
import type { ProcessSpec } from './specs.ts'

/**
 * Reads every service's settings as it will read them itself, so that a wrong --set or a wrong
 * variable of the environment is told at once and nothing is started.
 * @throws UsageError with every problem, each once.
 */
export async function checkServices(specs: readonly ProcessSpec[]): Promise<void> {
  const problems = new Set<string>()
  for (const { service, flags } of specs) {
    if (service === 'etcd') continue
    try {
      loadConfig({ service, fields: await fieldsOf(service), argv: flags, env: process.env })
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      for (const problem of error.problems) problems.add(`${service}: ${problem}`)
    }
  }
  if (problems.size > 0) throw new UsageError([...problems])
}

async function fieldsOf(service: Exclude<ProcessSpec['service'], 'etcd'>): Promise<Fields> {
  switch (service) {
    case 'gateway':
      return (await import('../../gateway/config.ts')).gatewayFields
    case 'pooler':
      return (await import('../../pooler/config.ts')).poolerFields
    case 'orch':
      return (await import('../../orch/config.ts')).orchFields
    case 'pgctld':
      return (await import('../../pgctld/config.ts')).pgctldFields
  }
}
