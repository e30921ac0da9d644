// What a batch, or a part of one, asks the pooler to look at, beside the mask of its traits.

import { Look, Pin } from '../../shared/link/frame.ts'
import type { ChannelChange } from '../listen/listen-statement.ts'
import { bindParameter } from './bind-parameters.ts'
import { COMMIT_SETTING, keepsCommitPolicy } from './commit-policy.ts'
import { Pooling, settingTraits, type BoundSetting, type Mentions } from './mentions.ts'
import { smallLetters } from './sql-tokens.ts'
import { Trait } from './traits.ts'

/** A Bind message, from behind its statement's name to its end. */
export type BoundValues = { bytes: Buffer; at: number; end: number }

/** Names are read one by one up to this many. */
const NAMES_MAX = 200

export class Asks {
  /** Settings that may have changed, in small letters. */
  names: string[] = []
  /** A custom name that is defined, if the batch has no other statement. */
  defines: string[] = []
  pooling: number = Pooling.None
  /** The session's prepared statements are cleared, and no answer says so. */
  clears = false

  /** What the batch does to the channels that the session hears, if it has no other statement. */
  channels: ChannelChange | undefined
  /** It reaches those channels in another way. */
  ownChannels = false

  /** The batch has no other statement. */
  set alone(alone: boolean) {
    if (alone) return
    this.defines = []
    if (this.channels !== undefined) this.ownChannels = true
    this.channels = undefined
  }

  /** A piece begins. */
  clear(): void {
    if (this.names.length > 0) this.names = []
    if (this.defines.length > 0) this.defines = []
    this.pooling = Pooling.None
    this.clears = this.ownChannels = false
    this.channels = undefined
  }

  /** A text with these mentions runs. */
  take(mentions: Mentions): void {
    const { names, defines, pooling, clears, channels, ownChannels } = mentions
    if (this.names.length < NAMES_MAX) this.names.push(...names)
    this.defines.push(...defines)
    if (pooling !== Pooling.None) this.pooling = pooling
    if (clears) this.clears = true
    if (channels !== undefined) this.channels = channels
    if (ownChannels) this.ownChannels = true
  }

  /** Traits of a set_config whose name is in a Bind message. */
  takeBound(setting: BoundSetting, { bytes, at, end }: BoundValues): number {
    const value = bindParameter(bytes, { at, end, number: setting.name })
    if (value === undefined || this.names.length >= NAMES_MAX) {
      return Pin.Settings | Pin.NotCleanable | Look.Settings
    }
    if (value === null) return 0
    const name = smallLetters(value)
    if (name === COMMIT_SETTING && !this.#keepsPolicy(setting, { bytes, at, end })) {
      return Trait.Refused
    }
    const traits = settingTraits(name, { local: setting.local, reset: false })
    if ((traits & Look.Settings) !== 0) this.names.push(name)
    return traits
  }

  #keepsPolicy({ value, strong }: BoundSetting, { bytes, at, end }: BoundValues): boolean {
    if (value === 0) return strong
    const text = bindParameter(bytes, { at, end, number: value })
    return text === null || (text !== undefined && keepsCommitPolicy(text))
  }
}
