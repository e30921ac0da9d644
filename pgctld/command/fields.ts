import { boolean, oneOf, path, string, type ConfigOf } from '../../shared/config/fields.ts'
import { pgctldFields } from '../config.ts'

const group = 'Command'

/** What `bun run pgctld -- VERB` takes: the service's settings and the verbs' own. */
export const commandFields = {
  ...pgctldFields,
  json: boolean({ default: false, help: 'Prints one JSON object.', group }),
  mode: oneOf({
    values: ['fast', 'immediate'],
    default: 'fast',
    help: 'How stop and restart end Postgres.',
    group,
  }),
  sqlFile: path({
    optional: true,
    help: "What init runs in database postgres; statements end with a semicolon at a line's end.",
    group,
  }),
  from: string({
    optional: true,
    help: 'Where clone copies from, HOST:PORT.',
    group,
    check: (value) => (/^.+:\d+$/.test(value) ? undefined : 'is not HOST:PORT'),
  }),
}

/** Their values. */
export type CommandConfig = Readonly<ConfigOf<typeof commandFields>>
