/** All words of the page in English and Japanese. */

const WORDS = {
  say: ["Describe a structure, such as: Pt(111) slab, 4 layers, 3x3, CO on top", "作りたい構造を書いてください（例：Pt(111)表面、4層、3x3、COをトップサイトに吸着）"],
  build: ["Build", "作成"], auto: ["new or change", "自動判別"], new: ["new", "新規"], change: ["change", "変更"],
  mode: ["use of the sentence", "文の扱い"],
  upload: ["Open file", "ファイルを開く"], language: ["日本語", "English"], theme: ["light or dark", "明暗の切替"], help: ["keyboard", "キーボード操作"],
  gallery: ["Start with an example", "例から始める"], or_drop: ["or describe a structure above, or drop a CIF, POSCAR or extended XYZ file here", "上に文を書くか、CIF・POSCAR・拡張XYZファイルをここにドロップしてください"],
  continue: ["Continue", "前回の続き"], drop: ["Drop to open", "ドロップして開く"],
  connecting: ["connecting …", "接続中…"], lost: ["connection lost, trying again …", "接続が切れました。再接続中…"], gone: ["this session no longer exists", "このセッションはもうありません"],
  building: ["building …", "作成中…"],
  structure: ["Structure", "構造"], run: ["Run", "計算"], history: ["Structures", "構造の一覧"], jobs: ["Jobs", "計算の一覧"],
  atoms: ["atoms", "原子数"], cell: ["cell", "セル"], volume: ["volume", "体積"], notes: ["Chosen automatically", "自動で決めたこと"], fixed: ["fixed", "固定"],
  download: ["Download", "ダウンロード"], recipe: ["Recipe", "レシピ"],
  potential: ["Potential", "ポテンシャル"], compare: ["compare", "比較"], here: ["on this machine", "ローカルにあり"], to_download: ["{mb} MB to download", "{mb} MBをダウンロード"],
  name: ["name", "名前"], near: ["near equilibrium, meV/atom; eV/Å", "平衡付近 meV/原子; eV/Å"], stressed: ["high stress, meV/atom; eV/Å", "高応力 meV/原子; eV/Å"], ms: ["ms/step (64 atoms)", "ms/ステップ（64原子）"], functional: ["functional", "汎関数"], licence: ["licence", "ライセンス"], elements: ["elements", "元素数"], choose: ["Choose", "選択"],
  relax: ["Relax", "構造緩和"], md: ["Dynamics", "分子動力学"], eos: ["Equation of state", "状態方程式"], elastic: ["Elastic constants", "弾性定数"], phonons: ["Phonons", "フォノン"],
  fmax: ["largest force", "最大力"], steps: ["steps", "ステップ数"], relax_cell: ["relax the cell too", "セルも緩和"], ensemble: ["ensemble", "アンサンブル"], temperature: ["temperature", "温度"], pressure: ["pressure", "圧力"], timestep: ["time step", "時間刻み"], interval: ["steps between frames", "保存間隔"], width: ["volume range ±", "体積範囲 ±"], points: ["points", "点数"],
  stiffness: ["stiffness", "弾性定数"], bands: ["phonon bands", "フォノン分散"], shear_modulus: ["shear modulus", "剛性率"], young_modulus: ["Young's modulus", "ヤング率"], poisson_ratio: ["Poisson's ratio", "ポアソン比"], universal_anisotropy: ["anisotropy", "異方性"], lowest: ["lowest frequency", "最低振動数"], heat_capacity: ["heat capacity, 300 K", "熱容量（300 K）"], unstable: ["unstable", "不安定です"],
  "elastic: relaxation": ["relaxing first", "先に緩和中"], "elastic: strained cells": ["strained cells", "ひずみ計算中"], "phonons: relaxation": ["relaxing first", "先に緩和中"], "phonons: displacements": ["displacements", "変位計算中"],
  displacement: ["displacement", "変位"], supercell: ["supercell", "スーパーセル"], strain: ["strain", "ひずみ"], max_strain: ["largest strain", "最大ひずみ"], relax_first: ["relax first", "先に緩和"], min_length: ["minimum length", "最小の長さ"],
  bussi: ["NVT, stochastic rescaling", "NVT（確率的速度スケーリング）"], nve: ["NVE, constant energy", "NVE（エネルギー一定）"], langevin: ["NVT, Langevin", "NVT（ランジュバン）"], "nose-hoover": ["NVT, Nosé-Hoover", "NVT（能勢-フーバー）"], "npt-isotropic": ["NPT, isotropic", "NPT（等方）"], "npt-full": ["NPT, full cell", "NPT（セル自由）"],
  start: ["Start", "開始"], stop: ["Stop", "停止"], resume: ["Resume", "再開"], remove: ["Remove", "削除"], show: ["Show", "表示"], play: ["Play", "再生"], pause: ["Pause", "一時停止"], use: ["Use this frame", "このフレームを使う"], trajectory: ["Trajectory", "軌跡"],
  waiting: ["waiting", "待機中"], starting: ["starting", "準備中"], running: ["running", "実行中"], stopping: ["stopping", "停止処理中"], stopped: ["stopped", "停止"], done: ["done", "完了"], failed: ["failed", "失敗"], not_converged: ["not converged", "未収束"],
  compiling: ["compiling for this processor (only once, up to a minute): {n} kernels so far", "このCPU向けにコンパイル中（初回のみ、最大1分程度）：{n}個完了"], downloading: ["downloading {what}: {done} of {total} MB", "{what}をダウンロード中：{done} / {total} MB"],
  left: ["{t} left", "残り {t}"], took: ["{t}", "{t}"],
  energy: ["energy", "エネルギー"], stress: ["stress", "応力"], time: ["time", "時間"], step: ["step", "ステップ"], bulk_modulus: ["bulk modulus", "体積弾性率"], derivative: ["dB/dP", "dB/dP"], residual: ["residual", "残差"], initial_energy: ["initial energy", "初期エネルギー"], converged: ["converged", "収束"],
  outside: ["{n} atoms outside the training range", "学習範囲外の原子：{n}個"],
  distance: ["distance", "距離"], angle: ["angle", "角度"], dihedral: ["dihedral", "二面角"], pick: ["Click atoms: 2 distance, 3 angle, 4 dihedral", "原子をクリック：2個で距離、3個で角度、4個で二面角"], atom_numbers: ["atom numbers", "原子番号（順番）"],
  view_a: ["view along a", "a軸から見る"], view_b: ["view along b", "b軸から見る"], view_c: ["view along c", "c軸から見る"], reset: ["fit", "全体表示"], balls: ["balls and sticks", "球と棒"], spheres: ["spheres", "球"], sticks: ["sticks", "棒"], cell_on: ["cell", "セル"], bonds_on: ["bonds", "結合"], repeat: ["neighbouring cells", "隣のセル"], image: ["save picture", "画像を保存"], viewer: ["3D view; arrow keys rotate it", "3D表示（矢印キーで回転）"],
  edit_step: ["Change this step", "このステップを変更"], remove_step: ["Remove this step", "このステップを削除"], apply: ["Apply", "適用"], cancel: ["Cancel", "キャンセル"], close: ["Close", "閉じる"],
  did_you_mean: ["did you mean", "もしかして"], clear: ["Delete this session", "このセッションをすべて削除"], clear_sure: ["All structures and jobs of this session will be deleted. Continue?", "このセッションの構造と計算をすべて削除します。よろしいですか？"], kept: ["kept when the server ends", "サーバー終了後も保存されます"], not_kept: ["deleted when the server ends", "サーバー終了時に消去されます"],
  none_yet: ["Build or open a structure first.", "まず構造を作成するか開いてください。"], extrapolated: ["minimum outside the volume range", "極小が体積範囲の外です"],
  keys: ["Keyboard", "キーボード操作"], key_text: ["write a sentence", "文を書く"], key_turn: ["rotate the structure (in the view)", "構造を回転（表示内）"], key_zoom: ["zoom", "拡大・縮小"], key_axes: ["view along a, b, c", "a, b, c軸から見る"], key_fit: ["fit", "全体表示"], key_start: ["start the job", "計算を開始"], key_stop: ["stop the job", "計算を停止"], key_play: ["play or pause", "再生・一時停止"], key_escape: ["clear the measurement", "測定を消す"], key_help: ["this list", "この一覧"],
};

let chosen = "en";

export const language = () => chosen;

export function setLanguage(name) {
  chosen = name === "ja" ? "ja" : "en";
  document.documentElement.lang = chosen;
}

/** A word in the language of the page; `{name}` is replaced. */
export function t(key, values = {}) {
  const entry = WORDS[key];
  let text = entry ? entry[chosen === "ja" ? 1 : 0] : key.replaceAll("_", " ");
  for (const [name, value] of Object.entries(values)) text = text.replace(`{${name}}`, value);
  return text;
}
