/** The stack as a proxy of Node: every flow relayed to the machine's own network, under a policy. @module */

export { type AssociationStats, Associations } from './association.ts';
export { type FlowRecord, formatFlow } from './flow-log.ts';
export { Gateway, type GatewayOptions, type GatewayUse, NETWORK } from './gateway.ts';
export { Limiter, type LimitSet, type Limits, OVER_LIMIT } from './limits.ts';
export { LearnedNames } from './names.ts';
export { type Decision, Policy, type PolicyDocument, type PolicyFunction } from './policy.ts';
export { type Publication, parsePublication } from './publication.ts';
export { Relay, type RelayOptions } from './relay.ts';
export { type FlowFacts, type FlowProtocol, parseRule, type Rule } from './rules.ts';
export { type ByteCounts, splice } from './splice.ts';
export { parseUpstream, type Upstream } from './upstream.ts';
