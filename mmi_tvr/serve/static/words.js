// The page's words in English and Chinese: by the browser's language, or by the switch.

const KEY = "language";

// {name} is filled in. Of counted things there is "one" and "other"; Chinese has one form.
const WORDS = {
  skip: ["Skip to the content", "跳到内容"],
  views: ["Views", "页面"],
  search: ["Search", "搜索"],
  people: ["People", "人物"],
  collection: ["Collection", "媒体库"],
  pools: ["Questions", "问题库"],
  ask: ["What are you looking for?", "您要找什么？"],
  no_library: ["There is no library here yet", "这里还没有媒体库"],
  make_library: [
    "Make one of a folder of videos and pictures, in a terminal:",
    "在终端里用一个存放视频和图片的文件夹建立媒体库：",
  ],
  then_reload: [
    "This page goes on by itself once it is there. Your files stay where they are; nothing leaves this machine.",
    "建好之后本页会自动继续。您的文件留在原处，任何内容都不会离开这台电脑。",
  ],
  searching: ["Searching …", "正在搜索……"],
  reranking: ["Asking a language model about the best hits …", "正在向语言模型询问最佳结果……"],
  loading_model: ["The first search waits until the model is loaded …", "首次搜索需要等待模型加载……"],
  moment_one: ["{n} moment", "{n} 个片段"],
  moment_other: ["{n} moments", "{n} 个片段"],
  item_one: ["{n} item", "{n} 个文件"],
  item_other: ["{n} items", "{n} 个文件"],
  pending: ["{n} waiting to be indexed", "{n} 个等待建立索引"],
  hint: [
    "Describe a moment in a sentence. The key “/” brings you back here, the arrow keys move among results, Enter plays one.",
    "用一句话描述一个片段。按 / 键回到搜索框，方向键在结果间移动，回车键播放。",
  ],
  nothing_indexed: [
    "Nothing can be searched yet: the collection says how far indexing is.",
    "还没有可搜索的内容：“媒体库”页显示索引进度。",
  ],
  nothing_found: ["Nothing found", "没有找到"],
  not_convincing: ["Not convincing", "结果不太可信"],
  closest: ["The closest there is", "最接近的结果"],
  show_any: ["Show what there is", "仍然显示结果"],
  more: ["Show more", "显示更多"],
  again: ["Try again", "重试"],
  unreachable: ["The service does not answer: was it ended?", "服务没有回应：是否已经关闭？"],
  missing: ["file away", "文件不在"],
  no_picture: ["no picture", "无法显示"],
  relevance: ["Relevance", "相关度"],
  close: ["Close", "关闭"],
  previous: ["Previous", "上一个"],
  next: ["Next", "下一个"],
  similar: ["More like this", "查找相似"],
  picture: ["By a picture", "以图搜索"],
  drop_hint: ["Choose a picture, drop one on the page, or paste one", "选择图片，或将图片拖到页面上，也可以粘贴"],
  like: ["like {name}", "类似 {name}"],
  too_large: ["This picture is larger than 32 MB.", "图片超过 32 MB。"],
  download: ["Download", "下载"],
  cannot_play: [
    "This browser cannot play this file; its picture is shown instead.",
    "浏览器无法播放此文件；仅显示画面。",
  ],
  play_from: ["Play from {time}", "从 {time} 播放"],
  why: ["Why", "为什么"],
  found_by: ["Channel", "渠道"],
  by_seen: ["seen", "画面"],
  by_heard: ["heard", "语音"],
  by_read: ["read", "文字"],
  date: ["Date", "日期"],
  companion: ["With it", "附带文件"],
  description: ["Description", "描述"],
  nearly_same: ["Nearly the same", "近似重复"],
  copy: ["Copy", "副本"],
  skeletons: ["Questions and answers", "问题与回答"],
  of_query: ["Of your sentence", "针对您的句子"],
  of_video: ["Of the video", "针对视频"],
  both: ["marked", "标记"],
  both_say: ["words stand on both sides.", "的词两边都出现。"],
  not_reranked: ["Not re-ranked: {reason}", "未重新排序：{reason}"],
  joint: ["joint score", "综合分数"],
  term_cosine: ["cosine", "余弦"],
  term_probability: ["same scene", "同一场景"],
  term_look: ["look", "观察"],
  compared: ["Compared", "对比"],
  answers_agrees: ["agrees", "一致"],
  answers_partly: ["agrees in part", "部分一致"],
  answers_differs: ["other words", "措辞不同"],
  answers_conflicts: ["conflicts", "矛盾"],
  answers_nothing: ["says nothing", "未提及"],
  judged_by: ["judged by {name}", "由 {name} 判断"],
  filter: ["Filter", "筛选"],
  filters: ["Filters", "筛选条件"],
  drop_filter: ["Remove the filter {name}", "取消筛选 {name}"],
  kinds: ["What it is", "文件类型"],
  films: ["Videos", "视频"],
  pictures: ["Pictures", "图片"],
  recordings: ["Recordings", "录音"],
  limits: ["When, how long, and without what", "时间、时长与不含的内容"],
  since: ["From", "从"],
  until: ["To", "到"],
  longer: ["At least", "至少"],
  shorter: ["At most", "至多"],
  without: ["without {text}", "不含 {text}"],
  without_words: ["Without", "不含"],
  how: ["How", "方式"],
  rerank: ["Ask questions about the best", "用问题重新排序"],
  pools_hint: [
    "These questions are asked of your sentence and of the best videos; the answers are compared. The first edit copies the pool into this library; ★ is asked.",
    "系统会就您的句子和最佳视频提出这些问题，并比较回答。首次编辑会把问题库复制到本媒体库；★ 表示会被提问。",
  ],
  about_text: ["About sentences", "针对句子"],
  about_video: ["About videos", "针对视频"],
  add: ["Add a question", "添加问题"],
  check: ["Check", "检查"],
  groups: ["Show the groups", "显示分组"],
  groups_of: ["The questions in {n} groups", "问题分为 {n} 组"],
  choose_again: ["Choose again", "重新选择"],
  choose_hint: [
    "The questions have changed since they were chosen: choose again.",
    "问题在选择之后有变化：请重新选择。",
  ],
  chosen_of: ["One question of each of {n} groups is asked now.", "现在从 {n} 组中各提问一个问题。"],
  saved: ["Saved.", "已保存。"],
  question_one: ["{n} question", "{n} 个问题"],
  question_other: ["{n} questions", "{n} 个问题"],
  of_which: ["{enabled} enabled, {asked} asked", "{enabled} 个启用，{asked} 个会被提问"],
  asked: ["Asked", "提问"],
  question: ["Question", "问题"],
  kind: ["Asks for", "类型"],
  enabled: ["On", "启用"],
  enable: ["Question {id} may be asked", "允许提问 {id}"],
  edit: ["Edit", "编辑"],
  edit_which: ["Edit {id}", "编辑 {id}"],
  remove: ["Remove", "删除"],
  remove_which: ["Remove {id}?", "删除 {id}？"],
  text: ["Question", "问题"],
  note: ["Note", "备注"],
  query: ["Your query", "您的查询"],
  query_hint: ["what you would search for", "您要搜索的内容"],
  effect: ["What does it do to a ranking?", "对排序有什么影响？"],
  compare: ["Compare before and after", "比较前后"],
  rank: ["Rank", "名次"],
  change: ["Change", "变化"],
  new: ["new", "新"],
  score_before: ["Before", "之前"],
  score_after: ["After", "之后"],
  not_asked: ["The same questions are asked as before.", "提问的问题没有变化。"],
  asked_now: ["Asked now, and not before:", "新提问的问题："],
  warnings: ["No problem, but:", "没有问题，但请注意："],
  problems: ["Problems:", "问题："],
  no_problem: ["No problem.", "没有问题。"],
  kind_entities: ["entities", "事物"],
  kind_attributes: ["attributes", "属性"],
  kind_counts: ["counts", "数量"],
  kind_actions: ["actions", "动作"],
  kind_relations: ["relations", "关系"],
  kind_places: ["places", "地点"],
  kind_order: ["order", "顺序"],
  kind_interaction: ["interaction", "互动"],
  kind_changes: ["changes", "变化"],
  kind_people: ["people", "人物"],
  kind_mood: ["mood", "气氛"],
  kind_purpose: ["purpose", "目的"],
  loading: ["Loading …", "正在加载……"],
  cancel: ["Cancel", "取消"],
  save: ["Save", "保存"],
  named: ["With a name", "已命名"],
  unnamed: ["Who is this?", "这是谁？"],
  unnamed_hint: ["Faces that look alike, without a name yet.", "相似但尚未命名的面孔。"],
  number: ["Number {n}", "{n} 号"],
  sighting_one: ["seen {n} time", "出现 {n} 次"],
  sighting_other: ["seen {n} times", "出现 {n} 次"],
  faces_of: ["Faces of {name}", "{name} 的面孔"],
  no_faces: ["No face was seen in a film yet.", "还没有在视频里见到这张面孔。"],
  split: ["These are somebody else", "这些是另一个人"],
  split_hint: ["Choose faces that are not this person's.", "选择不属于此人的面孔。"],
  name: ["Name", "命名"],
  who_is_it: ["Who is this?", "这是谁？"],
  person: ["Person", "人物"],
  merge: ["Merge", "合并"],
  merge_with: ["{name} is the same person as", "{name} 与下列人物是同一人"],
  hide: ["Hide", "隐藏"],
  unhide: ["Show again", "取消隐藏"],
  hidden: ["hidden", "已隐藏"],
  show_hidden: ["Show hidden people, too", "也显示已隐藏的人物"],
  forget: ["Forget", "遗忘"],
  forget_whom: ["Forget {name}?", "遗忘 {name}？"],
  forget_all: ["Forget everybody", "遗忘所有人"],
  forget_what: [
    "Name, faces and sightings are deleted from the library, and the keys to every copy of them. Your films stay. This cannot be undone.",
    "姓名、面孔和出现记录将从媒体库删除，所有副本的密钥也将销毁。您的视频不受影响。此操作无法撤销。",
  ],
  forgotten: ["Forgotten; no trace is left in the library.", "已遗忘；媒体库中没有留下任何痕迹。"],
  traces_left: [
    "Forgotten, but traces are left; mmi-tvr people forget --prove names them.",
    "已遗忘，但仍有痕迹；mmi-tvr people forget --prove 会列出它们。",
  ],
  faces_off: [
    "Nobody is known here: faces are looked for only where you switch that on, in a terminal.",
    "这里还没有人物：只有在终端里开启之后才会查找面孔。",
  ],
  nobody_yet: ["No face was seen yet.", "还没有见到面孔。"],
  indexing: ["Indexing", "建立索引"],
  idle: ["Up to date as far as this service knows.", "就本服务所知，媒体库是最新的。"],
  running: ["Indexing:", "正在建立索引："],
  paused: ["Paused; nothing is lost.", "已暂停；不会丢失任何内容。"],
  done: ["Indexed", "索引完成"],
  failed: ["Failed", "失败"],
  added: ["{n} added", "新增 {n} 个"],
  removed: ["{n} removed", "移除 {n} 个"],
  update: ["Look for new files", "查找新文件"],
  pause: ["Pause", "暂停"],
  resume: ["Go on", "继续"],
  searchable: ["Can be searched", "可搜索"],
  video_one: ["{n} video", "{n} 个视频"],
  video_other: ["{n} videos", "{n} 个视频"],
  image_one: ["{n} picture", "{n} 张图片"],
  image_other: ["{n} pictures", "{n} 张图片"],
  audio_one: ["{n} recording", "{n} 段录音"],
  audio_other: ["{n} recordings", "{n} 段录音"],
  waiting: ["Waiting", "等待中"],
  length: ["Length", "总时长"],
  on_disk: ["Size of the library", "媒体库大小"],
  model: ["Model", "模型"],
  writer: ["Being written by", "正在写入"],
  rebuilding: ["Left of a rebuild", "重建剩余"],
  folders: ["Folders", "文件夹"],
  add_folder: ["Folders are added in a terminal:", "在终端里添加文件夹："],
  set_aside: ["Set aside", "搁置的文件"],
  set_aside_hint: [
    "These files cannot be used; the others are not held up by them.",
    "这些文件无法使用；其他文件不受影响。",
  ],
  retry: ["Try these again", "重试这些文件"],
  file: ["File", "文件"],
  reason: ["Reason", "原因"],
  and_more: ["and {n} more", "另有 {n} 个"],
  duplicates: ["Near-duplicates, too", "也显示近似重复"],
  any: ["Weak matches, too", "包括弱匹配"],
};

function preferred() {
  let stored = null;
  try {
    stored = localStorage.getItem(KEY);
  } catch {
    // a browser that stores nothing
  }
  return stored ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
}

const current = preferred() === "zh" ? "zh" : "en";

/** Return the language of the page: "en" or "zh". */
export function language() {
  return current;
}

/** Show the page in the other language from now on. */
export function switchLanguage() {
  try {
    localStorage.setItem(KEY, current === "en" ? "zh" : "en");
  } catch {
    return;
  }
  location.reload();
}

/** Return a text, with its {names} filled in. */
export function t(key, values = {}) {
  const text = WORDS[key][current === "zh" ? 1 : 0];
  return text.replace(/\{(\w+)\}/g, (match, name) => values[name] ?? match);
}

/** Return how many there are of something, as "3 items". */
export function count(key, n) {
  return t(`${key}_${n === 1 ? "one" : "other"}`, { n: n.toLocaleString(current) });
}

/** Put the texts of the page that the service sent into its language. */
export function translate(root) {
  document.documentElement.lang = current === "zh" ? "zh-CN" : "en";
  for (const node of root.querySelectorAll("[data-word]")) node.textContent = t(node.dataset.word);
  for (const node of root.querySelectorAll("[data-label]")) node.ariaLabel = t(node.dataset.label);
}
