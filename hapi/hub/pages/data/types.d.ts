// The shapes that the page shares with the hub, as far as the page reads them. Types only: nothing here is served.

/** JSON that agents and other programs wrote: any shape may come. */
export type Json = any;

export interface SessionMetadata {
  name?: string;
  summary?: { text?: string } | null;
  path?: string;
  host?: string;
  homeDir?: string;
  machineId?: string;
  flavor?: string;
  agentSessionId?: string;
  lifecycleState?: string;
  lifecycleStateSince?: number;
  archiveReason?: string;
  capabilities?: { terminal?: boolean; [name: string]: any };
  startedBy?: string;
  preferredPermissionMode?: string;
  worktree?: { name?: string; branch?: string; basePath?: string };
  /** `claudeSessionId` and the like. */
  [key: string]: Json;
}

export interface PermissionRequest {
  tool: string;
  arguments?: Json;
  createdAt?: number;
  toolCallId?: string;
  /** The agent's own options. */
  options?: PermissionOption[];
  /** Whether only the names of the options say what they mean. */
  byName?: boolean;
  kind?: string;
  locations?: { path: string; line?: number }[];
  changes?: { path: string; diff: string; added?: number; removed?: number }[];
  /** What the agent says about the request, in Markdown. */
  text?: string;
  /** Whether only the terminal, where the agent's own program asks, can answer. */
  terminalOnly?: boolean;
}

export interface PermissionOption {
  id: string;
  name: string;
  kind: string;
}

export interface CompletedRequest {
  status?: string;
  decision?: string;
  toolCallId?: string;
  /** The name of the option that was chosen. */
  option?: string;
  reason?: string;
  completedAt?: number;
}

/** Something that is allowed for the rest of a session. */
export interface PermissionRule {
  id: string;
  kind?: string;
  tool?: string;
  command?: string;
  prefix?: string;
  directory?: string;
  paths?: string[];
  createdAt?: number;
}

export interface AgentState {
  controlledByUser?: boolean; // the agent's own program has the terminal
  requests?: Record<string, PermissionRequest>;
  completedRequests?: Record<string, CompletedRequest>;
}

export interface Todo {
  content: string;
  status: string;
}

export interface Progress {
  completed: number;
  total: number;
}

export interface Session {
  id: string;
  active: boolean;
  thinking?: boolean;
  createdAt?: number;
  updatedAt: number;
  activeTurnStartedAt?: number;
  metadata?: SessionMetadata | null;
  metadataVersion?: number;
  agentState?: AgentState | null;
  agentStateVersion?: number;
  todos?: Todo[] | null;
  todoProgress?: Progress | null;
  permissionMode?: string;
  model?: string | { modelId: string } | null;
  pendingRequestsCount?: number;
  hasConversationContent?: boolean;
  globalPinned?: boolean;
  /** within its project */
  pinned?: boolean;
  futureScheduledMessageCount?: number;
  /** The page has read the whole session, not only its entry in the list. */
  detailed?: boolean;
  /** The page has seen the session active, so it is not merely starting. */
  wasActive?: boolean;
  [key: string]: Json;
}

export interface MachineHealth {
  cpuPercent?: number;
  memoryPercent?: number;
  cpuCount?: number;
  load1m?: number;
  uptimeSeconds?: number;
}

export interface Machine {
  id: string;
  active: boolean;
  metadata?: {
    displayName?: string;
    host?: string;
    platform?: string;
    homeDir?: string;
    happyCliVersion?: string;
    workspaceRoots?: string[];
    supervisedRestart?: boolean;
    capabilities?: string[];
  } | null;
  runnerState?: { status?: string } | null;
  health?: MachineHealth | null;
}

/** Whether a machine can start an agent. */
export interface AgentAvailability {
  agent: string;
  available: boolean;
  reason?: string;
  label?: string;
  /** The permission modes that the machine's settings allow. */
  permissionModes?: string[];
  /** What the agent offered in its last session on the machine. */
  offer?: Record<string, Json>;
}

/** One choice of an offer. */
export interface OfferedChoice {
  id: string;
  name: string;
  description: string;
  unrestricted: boolean;
}

export interface Message {
  id: string;
  seq: number;
  createdAt: number;
  content: Json;
  localId?: string | null;
  invokedAt?: number | null;
  deliveryState?: string;
  scheduledAt?: number | null;
  /** The `seq` of the first snapshot, where this message is a later snapshot of the same text. */
  standsAt?: number;
}

export interface PageInfo {
  direction: string;
  hasMore: boolean;
  epoch: string | number | null;
  reset?: boolean;
  nextBeforeSeq?: number | null;
  nextBeforeAt?: number | null;
  nextAfterSeq?: number | null;
  nextAfterAt?: number | null;
  hasMoreAfter?: boolean;
}

export interface MessagePage {
  messages: Message[];
  page: PageInfo;
}

/** Parameters of the route for messages. */
export type PagePosition = Record<string, string | number>;

export interface QueuedStates {
  queuedLocalIds: string[];
  indeterminateLocalIds: string[];
  invokedLocalMessages: { localId: string; invokedAt: number }[];
}

export type OutgoingState = "sending" | "waiting" | "held" | "posted" | "failed";

/** A message that the hub has not confirmed yet. */
/** A file that was uploaded for a message. */
export interface Attachment {
  id: string;
  filename: string;
  mimeType: string;
  size: number;
  /** on the session's machine */
  path: string;
  /** the content as a data: address, of a message that npm's page has sent */
  previewUrl?: string;
}

/** A text that a person uses again and again. */
export interface SavedPrompt {
  id: string;
  /** may be empty */
  name: string;
  text: string;
}

/** What a person keeps beside a conversation. */
export interface ScratchEntry {
  entryId: string;
  text: string;
  createdAt: number;
  attachments: Attachment[];
}

export interface OutgoingMessage {
  localId: string;
  sessionId: string;
  text: string;
  attachments: Attachment[];
  createdAt: number;
  /** when the agent shall get it, in ms since the epoch; null: as soon as it can */
  scheduledAt: number | null;
  /** The localId of the message at the hub that this one is sent instead of. */
  replaces: string | null;
  /** Whether the hub has been asked to take that message back. */
  takesBack?: boolean;
  state: OutgoingState;
  error: string | null;
  code: string | null;
  attempts: number;
  /** ms since the epoch of the first refusal because the session is not active */
  inactiveSince: number | null;
}

export interface Connection {
  phase: "connecting" | "live" | "lost" | "refused";
  since: number;
  attempt: number;
  reason?: string | null; // what the hub says if it answers but refuses
}

export interface HubEvent {
  type: string;
  sessionId?: string;
  data?: Json;
  [key: string]: Json;
}

/** Something that the agent has begun and not finished. */
export interface LiveBlock {
  /** That of the record it becomes, or of its tool call. */
  id: string;
  type: "message" | "reasoning" | "tool-output";
  text: string;
  /** ms since the epoch when this page first saw it */
  at: number;
  /** Changes with its text. */
  revision: number;
}

/** An event of type `session-live`. */
export interface LiveEvent {
  epoch: string;
  number: number;
  /** `blocks` is all there is. */
  whole?: boolean;
  /** `append`: the text comes after what is known of the block. */
  blocks: { id: string; type: LiveBlock["type"]; text: string; append?: boolean }[];
  ended?: string[];
}

export interface Toast {
  title?: string;
  body?: string;
  sessionId?: string;
}

interface BlockBase {
  /** Identifies the block across redraws. */
  key: string;
  /** Changes with the content. */
  version: string;
  at: number;
  /** Work of a sub-agent. */
  side?: boolean;
  requestId?: string;
  request?: PermissionRequest;
}

export interface UserBlock extends BlockBase {
  kind: "user";
  text: string;
  files: string[];
  /** those of `files` that can be attached to another message */
  attachments: Attachment[];
  state: OutgoingState | "sent" | "queued" | "scheduled" | "indeterminate";
  localId: string;
  messageId?: string;
  scheduledAt?: number | null;
  /** What was written, where `text` is a readable form of it. */
  source?: string;
  /** Of a message that waits for the agent: whether another one that waits stands before or behind it. */
  canRise?: boolean;
  canFall?: boolean;
  error?: string | null;
  code?: string | null;
}

export interface TextBlock extends BlockBase {
  kind: "text";
  text: string;
  /** The agent is still saying it. */
  live?: boolean;
}

export interface ThoughtBlock extends BlockBase {
  kind: "thought";
  text: string;
  live: boolean;
}

export interface ToolBlock extends BlockBase {
  kind: "tool";
  callId?: string;
  name: string;
  title?: string;
  toolKind?: string;
  input?: Json;
  /** The changes of files: `{path, diff, added, removed}` each. */
  changes?: Json;
  status?: string;
  output?: Json;
  failed?: boolean;
  done?: boolean;
  progress?: string;
  /** ms since the epoch when it began to run, as far as the records tell, and when its result came */
  startedAt?: number;
  endedAt?: number;
  /** While its output grows: the version of what is recorded of it. */
  recordedVersion?: string;
  decision?: CompletedRequest;
}

export interface PlanBlock extends BlockBase {
  kind: "plan";
  entries: Todo[];
  /** How many prompts the agent has received since the plan last changed. */
  promptsSince: number;
}

export interface EventBlock extends BlockBase {
  kind: "event";
  text: string;
  tone: string;
  /** The permission mode that the session has changed to. */
  mode?: string;
  /** The agent's own words about an error, which can be unfolded. */
  details?: string;
}

/** What a turn took, at its end. */
export interface TurnBlock extends BlockBase {
  kind: "turn";
  /** ms; null if its beginning is not loaded */
  duration: number | null;
  /** tokens; 0 if they are not known */
  input: number;
  output: number;
  model?: string;
  cost?: { amount: number; currency: string };
  /** tokens in the model's context after the turn, and how many it holds; 0 if that is not known */
  context?: { tokens: number; window: number };
  /** the last text of the agent */
  answer: TextBlock | null;
}

export interface ImageBlock extends BlockBase {
  kind: "image";
  imageId: string;
  fileName: string;
  mediaType: string;
  /** in bytes; 0 if it is not known */
  size: number;
}

/** A permission request that no tool call of the conversation belongs to. */
export interface RequestBlock extends BlockBase {
  kind: "request";
  requestId: string;
  request: PermissionRequest;
}

/** A record that has none of the shapes that can be shown. */
export interface OddBlock extends BlockBase {
  kind: "odd";
  value: Json;
}

export interface DayBlock extends BlockBase {
  kind: "day";
}

export type Block =
  | UserBlock
  | TextBlock
  | ThoughtBlock
  | ToolBlock
  | PlanBlock
  | EventBlock
  | TurnBlock
  | ImageBlock
  | RequestBlock
  | OddBlock
  | DayBlock;

/** A button of a permission request. */
/** `decline`: leave the agent's questions unanswered; the turn goes on. */
/** `edits`: allow this and all other edits of files for the session. */
/** `option:ID`: one of the agent's own options. */
export type Choice = "allow" | "session" | "edits" | "deny" | "decline" | `option:${string}`;

/** A choice on its way to the hub, or one that could not be delivered. */
export interface Decision {
  choice: Choice;
  error?: string;
}

/** Answers to the agent's questions, by question. */
export type Answers = Record<string, string[] | { answers: string[] }>;

/** What the blocks of a conversation need from the view that shows them. */
export interface BlockContext {
  active: boolean;
  /** The directory of the session. */
  directory?: string;
  /** The name of a permission mode for people. */
  modeName?(mode: string): string;
  /** why this person cannot answer permission requests; null if they can */
  refusal: string | null;
  /** Whether a person opened (true) or closed (false) a fold, by its key. */
  expanded: Map<string, boolean>;
  decisions: Map<string, Decision>;
  /** Take a message back into the composer. */
  edit(block: UserBlock): void;
  cancel(block: UserBlock): void;
  /** Move a message that waits, by one place up (-1) or down (1). */
  move(block: UserBlock, by: -1 | 1): void;
  sendNow(block: UserBlock): void;
  retry(block: UserBlock): void;
  discard(block: UserBlock): void;
  retryQueued(block: UserBlock): void;
  decide(
    requestId: string,
    request: PermissionRequest,
    choice: Choice,
    answers?: Answers,
    reason?: string,
  ): void;
  /** a picture that was attached to a message; null for other files, and for one too large for a preview */
  attachedPicture(attachment: Attachment): Node | null;
  image(block: ImageBlock): Node;
  save(block: ImageBlock): Node;
  /** Where the page shows a file that an answer names. */
  fileAddress?(
    path: string,
    line: number | null,
  ): { address: string; follow: (event: MouseEvent) => void };
}

/** One agent of `GET /api/agents`. */
export interface Agent {
  name: string;
  label: string;
  permissionModes: string[];
  hasModel: boolean;
  models: string[];
  settings: string[];
  approvalStyle: string;
  steerable: boolean;
}

export interface PermissionMode {
  name: string;
  label: string;
  unrestricted: boolean;
}

/** The answer of `GET /api/agents`. */
export interface AgentCatalogAnswer {
  agents: Agent[];
  generic: Agent;
  permissionModes: PermissionMode[];
}

/** One screen of the main pane. */
/** A part of a message that was found; `marks` are the places of the words, in UTF-16 code units. */
export interface Snippet {
  text: string;
  marks: [number, number][];
  hasMoreBefore: boolean;
  hasMoreAfter: boolean;
}

export interface SearchResult {
  sessionId: string;
  sessionTitle: string;
  messageId: string;
  seq: number;
  time: number;
  kind: string;
  snippet: Snippet;
}

export interface SearchPage {
  results: SearchResult[];
  nextCursor: number | null;
  isPartial: boolean;
  /** null: all messages are indexed */
  indexing: { done: number; total: number } | null;
}

export interface Usage {
  inputTokens: number;
  outputTokens: number;
  cacheReadTokens: number;
  cacheCreationTokens: number;
  totalTokens: number;
  uncachedTokens: number;
  requests: number;
}

/** The use of one day, agent or model. */
export type UsageOf = Usage & { key: string };

export interface UsageSummary {
  range: { from: number; to: number };
  totals: Usage & { sessions: number };
  daily: UsageOf[];
  byAgent: UsageOf[];
  byModel: UsageOf[];
  updatedAt: number;
}

/** A link under which anybody may read a conversation. */
export interface ShareLink {
  id: string;
  createdAt: number;
  expiresAt: number;
  includesLater: boolean;
  includesTools: boolean;
  includesThoughts: boolean;
}

/** `path`: its address below that of the page. */
export type NewShareLink = ShareLink & { path: string };

/** A page of a shared conversation. */
export interface SharedPage {
  title: string;
  agent: string;
  sharedAt: number;
  expiresAt: number;
  isGrowing: boolean;
  messages: Message[];
  cursor: string | null;
}

export interface View {
  node: HTMLElement;
  /** Shows the present state of the store. */
  draw?(): void;
  start?(): unknown;
  focus?(): void;
  leave?(): void;
  title?(): string;
  /** Shows the same place with another query. Without it the view is made anew. */
  navigate?(query: URLSearchParams): void;
}

/** What an address of the page shows. */
export interface Route {
  /** one of `PLACES`, or "" for the start screen */
  place: string;
  /** the segment that the star of the place stands for, decoded; "" if it has none */
  id: string;
  query: URLSearchParams;
}

/** What the frame of the page gives to the view of a place. */
export interface ViewContext {
  store: import("./store/store.js").Store;
  api: import("./hub/api.js").Api;
  outbox: import("./store/outbox.js").Outbox;
  drafts: import("./composer/drafts.js").Drafts;
  identity: import("./hub/identity.js").Identity;
  go: Go;
  /** as in Route */
  id: string;
  query: URLSearchParams;
  /** Shows what an action is doing that takes a while; null: it is done. */
  showStatus(text: string | null): void;
  logOut(): void;
  /** Opens the dialog for a new session. */
  newSession(machineId?: string): void;
  /** Opens the settings of a session. */
  openSettings(id: string, resume: () => Promise<void>): void;
}

export type NoticeKind = "permission-request" | "ready" | "ended" | "stuck";

/** What a device is notified of, and how much of it is shown. */
export interface NotificationSettings {
  kinds: NoticeKind[];
  detail: "minimal" | "title" | "command";
  /** every day, as `22:00`, in an IANA time zone */
  quietHours: { start: string; end: string; timeZone: string } | null;
  /** ids of sessions */
  mutedSessions: string[];
  whileVisible: boolean;
}

export interface NotifiedDevice {
  id: string;
  kind: "push" | "telegram";
  label: string;
  createdAt: number;
  settings: NotificationSettings;
}

/** A module of the table in views/shell/routes.js. */
export interface ViewModule {
  view(context: ViewContext): View;
}

export type Go = (path: string, options?: { replace?: boolean }) => void;
