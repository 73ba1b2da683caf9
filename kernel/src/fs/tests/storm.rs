//! A storm of random operations against a model that is simple enough to be right.

use std::collections::BTreeMap;

use super::*;

/// A small random number generator (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// What a path is in the model: directories by name, files by number.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Dir,
    File(usize),
}

/// Absolute paths and what they are; files may have several.
struct Model {
    nodes: BTreeMap<String, Node>,
    contents: Vec<Vec<u8>>,
}

fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(end) => &path[..end],
    }
}

impl Model {
    fn new() -> Self {
        Self {
            nodes: BTreeMap::from([(String::from("/"), Node::Dir)]),
            contents: Vec::new(),
        }
    }
    /// What a walk to the parent says.
    fn check_parent(&self, path: &str) -> Result {
        let mut at = String::new();
        for component in parent(path).split('/').filter(|c| !c.is_empty()) {
            at = format!("{at}/{component}");
            match self.nodes.get(&at) {
                Some(Node::Dir) => {}
                Some(Node::File(_)) => return Err(Errno::ENOTDIR),
                None => return Err(Errno::ENOENT),
            }
        }
        Ok(())
    }
    fn get(&self, path: &str) -> Result<Node> {
        self.check_parent(path)?;
        self.nodes.get(path).cloned().ok_or(Errno::ENOENT)
    }
    fn free(&self, path: &str) -> Result {
        match self.get(path) {
            Ok(_) => Err(Errno::EEXIST),
            Err(Errno::ENOENT) if self.check_parent(path).is_ok() => Ok(()),
            Err(error) => Err(error),
        }
    }
    fn children(&self, path: &str) -> Vec<String> {
        let prefix = format!("{path}/");
        self.nodes
            .keys()
            .filter(|key| key.starts_with(&prefix))
            .cloned()
            .collect()
    }
    fn mkdir(&mut self, path: &str) -> Result {
        self.free(path)?;
        self.nodes.insert(path.into(), Node::Dir);
        Ok(())
    }
    fn write(&mut self, path: &str, bytes: &[u8]) -> Result {
        match self.get(path) {
            Ok(Node::Dir) => Err(Errno::EISDIR),
            Ok(Node::File(id)) => {
                self.contents[id] = bytes.to_vec();
                Ok(())
            }
            Err(_) => {
                self.free(path)?;
                self.contents.push(bytes.to_vec());
                self.nodes
                    .insert(path.into(), Node::File(self.contents.len() - 1));
                Ok(())
            }
        }
    }
    fn read(&self, path: &str) -> Result<Vec<u8>> {
        match self.get(path)? {
            Node::Dir => Err(Errno::EISDIR),
            Node::File(id) => Ok(self.contents[id].clone()),
        }
    }
    fn unlink(&mut self, path: &str) -> Result {
        match self.get(path)? {
            Node::Dir => Err(Errno::EISDIR),
            Node::File(_) => {
                self.nodes.remove(path);
                Ok(())
            }
        }
    }
    fn rmdir(&mut self, path: &str) -> Result {
        match self.get(path)? {
            Node::File(_) => Err(Errno::ENOTDIR),
            Node::Dir if !self.children(path).is_empty() => Err(Errno::ENOTEMPTY),
            Node::Dir => {
                self.nodes.remove(path);
                Ok(())
            }
        }
    }
    fn link(&mut self, old: &str, new: &str) -> Result {
        let node = self.get(old)?;
        self.free(new)?;
        if node == Node::Dir {
            return Err(Errno::EPERM);
        }
        self.nodes.insert(new.into(), node);
        Ok(())
    }
    fn rename(&mut self, old: &str, new: &str) -> Result {
        self.check_parent(old)?;
        self.check_parent(new)?;
        let source = self.get(old)?;
        let target = self.get(new).ok();
        if source == Node::Dir && new.starts_with(&format!("{old}/")) {
            return Err(Errno::EINVAL);
        }
        if target == Some(Node::Dir) && old.starts_with(&format!("{new}/")) {
            return Err(Errno::ENOTEMPTY);
        }
        match (&source, &target) {
            (Node::File(a), Some(Node::File(b))) if a == b => return Ok(()),
            (Node::Dir, Some(Node::Dir)) if old == new => return Ok(()),
            (Node::Dir, Some(Node::File(_))) => return Err(Errno::ENOTDIR),
            (Node::File(_), Some(Node::Dir)) => return Err(Errno::EISDIR),
            (Node::Dir, Some(Node::Dir)) if !self.children(new).is_empty() => {
                return Err(Errno::ENOTEMPTY);
            }
            _ => {}
        }
        for child in self.children(old) {
            let node = self.nodes.remove(&child).unwrap();
            self.nodes
                .insert(format!("{new}{}", &child[old.len()..]), node);
        }
        self.nodes.remove(old);
        self.nodes.insert(new.into(), source);
        Ok(())
    }
}

/// A path of one to three short names, so that the same ones meet often.
fn random_path(dice: &mut Dice) -> String {
    let depth = 1 + dice.roll(3);
    (0..depth)
        .map(|_| format!("/{}", ["a", "b", "c", "dd"][dice.roll(4) as usize]))
        .collect()
}

fn step(world: &World, model: &mut Model, dice: &mut Dice) {
    let (one, two) = (random_path(dice), random_path(dice));
    match dice.roll(8) {
        0 => assert_eq!(world.mkdir(&one), model.mkdir(&one), "mkdir {one}"),
        1 | 2 => {
            let bytes = vec![dice.roll(256) as u8; dice.roll(10_000) as usize];
            assert_eq!(
                world.write(&one, &bytes),
                model.write(&one, &bytes),
                "write {one}"
            );
        }
        3 => assert_eq!(world.unlink(&one), model.unlink(&one), "unlink {one}"),
        4 => assert_eq!(world.rmdir(&one), model.rmdir(&one), "rmdir {one}"),
        5 => assert_eq!(
            world.link(&one, &two),
            model.link(&one, &two),
            "link {one} {two}"
        ),
        6 => assert_eq!(
            world.rename(&one, &two),
            model.rename(&one, &two),
            "rename {one} {two}"
        ),
        _ => assert_eq!(world.read(&one), model.read(&one), "read {one}"),
    }
}

/// Everything that the model has is there, and directories count their subdirectories.
fn compare(world: &World, model: &Model) {
    for (path, node) in &model.nodes {
        let stat = world.stat(path).unwrap();
        match node {
            Node::Dir => {
                let own = |key: &&String| *key != "/" && *key != path && parent(key) == path;
                let children = model.nodes.keys().filter(own);
                let subdirs = children
                    .filter(|key| model.nodes[*key] == Node::Dir)
                    .count();
                assert_eq!(stat.nlink as usize, 2 + subdirs, "{path}");
            }
            Node::File(id) => {
                let names = model.nodes.values().filter(|other| *other == node).count();
                assert_eq!(stat.nlink as usize, names, "{path}");
                assert_eq!(world.read(path).unwrap(), model.contents[*id], "{path}");
            }
        }
    }
}

#[test]
fn a_storm_of_operations_agrees_with_the_model() {
    for seed in 1..=4u64 {
        in_world(move |world| {
            let (mut model, mut dice) =
                (Model::new(), Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            for round in 0..3000 {
                step(world, &mut model, &mut dice);
                if round % 500 == 0 {
                    compare(world, &model);
                }
            }
            compare(world, &model);
        });
    }
}

#[test]
fn random_reads_and_writes_agree_with_a_plain_vector() {
    in_world(|world| {
        let file = world.open("/f", O_RDWR | O_CREAT).unwrap();
        let (mut model, mut dice) = (Vec::<u8>::new(), Dice(7));
        for _ in 0..1500 {
            let pos = dice.roll(60_000) as usize;
            let len = dice.roll(9000) as usize + 1;
            match dice.roll(5) {
                0 | 1 => {
                    let byte = dice.roll(256) as u8;
                    file.kernel_write(&vec![byte; len], &mut (pos as u64))
                        .unwrap();
                    model.resize(model.len().max(pos + len), 0);
                    model[pos..pos + len].fill(byte);
                }
                2 => {
                    crate::fs::truncate::do_truncate(&file.path, pos as u64, &world.env.cred)
                        .unwrap();
                    model.resize(pos, 0);
                }
                3 => {
                    let mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
                    crate::fs::truncate::vfs_fallocate(&file, mode, pos as i64, len as i64)
                        .unwrap();
                    let (start, end) = (pos.min(model.len()), (pos + len).min(model.len()));
                    model[start..end].fill(0);
                }
                _ => {
                    let mut buf = vec![1; len];
                    let count = file.kernel_read(&mut buf, &mut (pos as u64)).unwrap();
                    let start = pos.min(model.len());
                    let end = (pos + len).min(model.len());
                    assert_eq!(&buf[..count], &model[start..end]);
                }
            }
            assert_eq!(file.inode.size() as usize, model.len());
        }
        assert_eq!(read_all(&file).unwrap(), model);
    });
}
